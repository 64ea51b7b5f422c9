# The broker and the demo page. Build: docker build -t linkup-broker . Run, with STUN and TURN:
#   docker run --network host linkup-broker --turn-address 198.51.100.7
# or without TURN, on one port: docker run -p 5000:5000 linkup-broker --no-turn
FROM rust:1.91-slim-trixie AS program
WORKDIR /linkup
COPY . .
RUN cargo build --release --locked -p linkup-broker

FROM node:22-trixie-slim AS page
WORKDIR /linkup
COPY package.json package-lock.json ./
RUN npm install --no-save --ignore-scripts --no-audit --no-fund
COPY . .
RUN node scripts/build-demo.js && node scripts/build-page.js

FROM debian:trixie-slim
COPY --from=program /linkup/target/release/linkup-broker /usr/local/bin/
COPY --from=page /linkup/dist /usr/share/linkup
ENV LINKUP_FILES=/usr/share/linkup
# STUN and TURN; relayed addresses have the UDP ports 49152 to 65535.
EXPOSE 5000 3478/tcp 3478/udp
USER nobody
ENTRYPOINT ["/usr/local/bin/linkup-broker"]
