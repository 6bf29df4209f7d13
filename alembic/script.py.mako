<%
    def body(commands):
        return "\n".join(line for line in commands.splitlines() if not line.strip().startswith("# ###")).strip() or "pass"
%>\
"""${message}"""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}


def upgrade() -> None:
    ${body(upgrades or "")}


def downgrade() -> None:
    ${body(downgrades or "")}
