FROM python:3.11-slim-bookworm AS build

COPY requirements/runtime.txt /tmp/runtime.txt
RUN python -m venv /opt/beacon \
    && /opt/beacon/bin/pip install --disable-pip-version-check --no-cache-dir --no-deps --require-hashes -r /tmp/runtime.txt \
    && /opt/beacon/bin/pip uninstall --yes pip setuptools


FROM python:3.11-slim-bookworm

# pg_dump, pg_restore and psql, for `beacon db backup` and `restore`: Debian 12 has those of PostgreSQL 15.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends postgresql-client \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /srv/beacon --shell /usr/sbin/nologin beacon \
    && install --directory --owner=beacon --mode=0750 /srv/beacon/data \
    && printf '#!/bin/sh\nexec python -m app.cli "$@"\n' > /usr/local/bin/beacon \
    && chmod 0755 /usr/local/bin/beacon

COPY --from=build /opt/beacon /opt/beacon
COPY app /srv/beacon/app
COPY alembic /srv/beacon/alembic

ENV PATH=/opt/beacon/bin:$PATH \
    PYTHONPATH=/srv/beacon \
    PYTHONUNBUFFERED=1
# Readable to any user, written by none; compiled once, here.
RUN chmod -R a+rX,go-w /srv/beacon/app /srv/beacon/alembic \
    && python -m compileall -q /srv/beacon/app /srv/beacon/alembic

USER beacon
# The default database, SQLite, is data/beacon.db below this.
WORKDIR /srv/beacon
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection('127.0.0.1', 8000, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["beacon"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
