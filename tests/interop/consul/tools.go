//go:build tools

// Package tools names the program that the tests start.
package tools

import _ "github.com/hashicorp/consul"
