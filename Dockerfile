# The server and nothing else: a static binary, no shell, and a user that is not root.
#
#     docker build --tag throttle .
#     docker run --publish 127.0.0.1:8000:8000 --volume throttle:/var/lib/throttle throttle --semaphore database=20
#
# docs/install.md has the rest.

# Here the default target is musl, and what it links is static. A build context of this name takes the place of the
# stage: --build-context build=DIRECTORY, with /image and /data in it.
FROM rust:1.95-alpine AS build
WORKDIR /source
COPY . .
RUN cargo build --release --locked --package throttle-server \
    && install -D target/release/throttle /image/usr/bin/throttle \
    && install -D -m 644 deploy/container/throttle.toml /image/etc/throttle/throttle.toml \
    && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/ca-certificates.crt \
    && mkdir /data

FROM scratch
LABEL org.opencontainers.image.title="Throttle" \
      org.opencontainers.image.description="Semaphores for distributed systems, over HTTP" \
      org.opencontainers.image.source="https://github.com/pacman82/throttle" \
      org.opencontainers.image.licenses="MIT"
COPY --from=build /image/ /
# A volume that is made on first use takes its owner from here.
COPY --from=build --chown=65532:65532 /data /var/lib/throttle
# Within a container loopback is of no use. What may reach the port is for the container's network to say; beyond that,
# give the server tokens (docs/security.md).
ENV THROTTLE_ADDRESS=0.0.0.0 \
    THROTTLE_CONFIGURATION=/etc/throttle/throttle.toml \
    THROTTLE_DATA_DIR=/var/lib/throttle
USER 65532:65532
VOLUME /var/lib/throttle
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=1m CMD ["/usr/bin/throttle", "health"]
ENTRYPOINT ["/usr/bin/throttle"]
