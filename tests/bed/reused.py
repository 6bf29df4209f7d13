"""Databases that are used again: to empty one and fill it anew is far quicker than to create it."""

from dataclasses import dataclass, field

import asyncpg

from app.core.ids import new_id
from tests.bed.postgres import Server

_SHAPE = """
    SELECT md5(string_agg(part, ',' ORDER BY part)) FROM (
        SELECT c.relname || '.' || a.attname || a.atttypid || a.attnotnull AS part
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'public' AND a.attnum > 0
        UNION ALL SELECT conname || contype::text FROM pg_constraint
        UNION ALL SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal
    ) parts
"""
KEEP = f"""
CREATE SCHEMA bed;
DO $$ DECLARE t text; filled boolean; BEGIN
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I)', t) INTO filled;
        IF filled THEN EXECUTE format('CREATE TABLE bed.%I AS TABLE public.%I', t, t); END IF;
    END LOOP;
END $$;
CREATE VIEW bed.shape AS {_SHAPE};
CREATE TABLE bed.was AS SELECT * FROM bed.shape;
"""
# What has grown large, or was changed in its shape, is not worth mending.
RESET = """
SET lock_timeout = '2s';
SET session_replication_role = replica;
DO $$ DECLARE t text; BEGIN
    IF (TABLE bed.shape) IS DISTINCT FROM (TABLE bed.was) THEN RAISE 'its shape has changed'; END IF;
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' LOOP
        IF pg_relation_size(format('public.%I', t)) > 500000 THEN RAISE 'it has grown'; END IF;
        EXECUTE format('DELETE FROM public.%I', t);
    END LOOP;
    FOR t IN SELECT tablename FROM pg_tables WHERE schemaname = 'bed' AND tablename <> 'was' LOOP
        EXECUTE format('INSERT INTO public.%I SELECT * FROM bed.%I', t, t);
    END LOOP;
END $$;
"""


@dataclass
class Databases:
    """Of one server: databases like its template, each to one test at a time. The template has had `KEEP`."""

    server: Server
    template: str
    _free: list[str] = field(default_factory=list)

    def take(self) -> str:
        """The name of a database that is as the template is."""
        if self._free:
            return self._free.pop()
        name = f"t{new_id().hex}"
        self.server.create(name, template=self.template)
        return name

    def give_back(self, name: str) -> None:
        """The test is over: the database is made as it was, or dropped."""
        try:
            self.server.execute(RESET, name)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
            self.server.drop(name)
        else:
            self._free.append(name)
