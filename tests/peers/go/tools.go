//go:build tools

// Package tools names the programs that the tests build.
package tools

import (
	_ "github.com/fullstorydev/grpcurl/cmd/grpcurl"
	_ "google.golang.org/grpc/cmd/protoc-gen-go-grpc"
	_ "google.golang.org/grpc/interop/client"
	_ "google.golang.org/grpc/interop/server"
	_ "google.golang.org/protobuf/cmd/protoc-gen-go"
)
