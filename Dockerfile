# Build:  docker build -t gatehouse --build-arg VERSION=$(git describe --tags --always) .
# Run:    docker run -p 127.0.0.1:8080:8080 -v ./gatehouse.yaml:/etc/gatehouse/gatehouse.yaml:ro gatehouse
# Demo:   docker run --rm -p 127.0.0.1:8080:8080 gatehouse demo --listen 0.0.0.0:8080

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
# Static: there is no C library in the final image.
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X gatehouse/command.version=${VERSION}" -o /out/gatehouse . \
 && mkdir -p /out/etc/gatehouse /out/tmp && chmod 1777 /out/tmp

FROM scratch
# For an https application and for Redis over TLS.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /
# Nobody: no name, no home, and the files above belong to root.
USER 65532:65532
EXPOSE 8080
# The image has no shell and no curl. A TLS listener or another port needs its own --url.
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s --retries=3 \
  CMD ["/gatehouse", "healthcheck", "--url", "http://127.0.0.1:8080/.gatehouse/healthz"]
ENTRYPOINT ["/gatehouse"]
# Inside a container the default, 127.0.0.1, would be reachable from nowhere.
CMD ["serve", "--config", "/etc/gatehouse/gatehouse.yaml", "--listen", "0.0.0.0:8080"]
