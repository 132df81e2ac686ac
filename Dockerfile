# One image for every daemon: `push` (all in one, the default), push-connector, push-api, push-group,
# push-sub, push-webhooks. docs/containers.md says how to use it.
#
#   docker build -t push-universe .

FROM python:3.13-slim AS build
WORKDIR /source
COPY setup.py pyproject.toml README.md LICENSE ./
COPY push push
COPY twisted twisted
RUN python -m venv /opt/push/venv \
    && /opt/push/venv/bin/pip install --no-cache-dir . \
    # Twisted writes down which commands there are: later nobody may write here.
    && /opt/push/venv/bin/twistd --help > /dev/null

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /var/lib/push --shell /usr/sbin/nologin push \
    && install -d -m 700 -o push -g push /var/lib/push
COPY --from=build /opt/push/venv /opt/push/venv
COPY etc/push.toml /etc/push/push.toml
ENV PATH=/opt/push/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PUSH_SERVER_DATA=/var/lib/push/push-data
USER push
WORKDIR /var/lib/push
# Keys, certificates and the embedded Redis. What is not kept in a volume ends with the container.
VOLUME /var/lib/push
EXPOSE 6789 6790 6791 6792 6793 8080 8081 8082 8083
# The first signal drains; `docker stop` waits 10 s unless told otherwise (--time).
STOPSIGNAL SIGTERM
ENTRYPOINT ["twistd", "-n", "--pidfile="]
CMD ["push"]
