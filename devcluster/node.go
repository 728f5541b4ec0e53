package main

import (
	"os"

	"carillon.dev/devcluster/node"
)

// runNode is the node that runs each container's command as a local process.
func runNode() int {
	return node.Main(os.Args[1:])
}
