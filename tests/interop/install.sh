#!/usr/bin/env bash
# What the clients and servers in other languages need, as the pages tell a reader to install it.
# `cargo xtask install-tools` runs this with buf, Go, Node and Python on the PATH; programs go to
# the folder that is its argument.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1

npm ci --prefix tests/interop/oidc-provider --silent --no-fund --no-audit

(
    cd tests/interop/node
    npm ci --silent --no-fund --no-audit
)

(
    cd tests/interop/python
    python3 -m venv .venv
    .venv/bin/pip install -r requirements.txt --quiet
    mkdir -p gen
    .venv/bin/python -m grpc_tools.protoc -I ../../../proto --python_out=gen --grpc_python_out=gen ../../../proto/*/v1/*.proto
    # The conformance chapter's client, as a program of its own.
    .venv/bin/python -m grpc_tools.protoc -I ../../../listings/conformance/proto --python_out=gen --grpc_python_out=gen \
        ../../../listings/conformance/proto/grpc/testing/test.proto
    cat > "$bin/grpcio-interop-client" << EOF
#!/bin/sh
cd "$PWD"
PYTHONPATH=gen exec .venv/bin/python compressed.py "\$@"
EOF
    chmod +x "$bin/grpcio-interop-client"
)

(
    cd tests/interop/go
    buf generate
    test -z "$(gofmt -l client server)"
    go vet ./...
    go build -mod=readonly -o "$bin/go-server" ./server
    go build -mod=readonly -o "$bin/grpc-go-interop-client" google.golang.org/grpc/interop/client
    go build -mod=readonly -o "$bin/grpc-go-interop-server" google.golang.org/grpc/interop/server
    go build -mod=readonly -o "$bin/grpcurl" github.com/fullstorydev/grpcurl/cmd/grpcurl
)

(
    cd tests/interop/consul
    go build -mod=readonly -o "$bin/consul" github.com/hashicorp/consul
)
