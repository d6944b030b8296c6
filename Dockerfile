# An image with turnmill's commands: docker build -t turnmill .
FROM rust:1-slim-trixie AS build
# For the C libraries that are compiled in: SQLite, librdkafka, OpenSSL.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make perl pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked -p turnmill -p turnmill-replay

FROM debian:trixie-slim
# Authorities that certificates of brokers and databases are checked against.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 turnmill
COPY --from=build /build/target/release/turnmill /build/target/release/turnmill-replay /usr/local/bin/
USER turnmill
# Health and metrics.
EXPOSE 8732
ENTRYPOINT ["turnmill"]
CMD ["run"]
