// Command carillon-devcluster is a whole small Kubernetes in one binary: the
// control plane's own programs and a node that runs pods as local processes.
//
// Its first argument names the part to be, as in k3s; the Python package
// carillon_devcluster starts one process of it for each part. Nothing here
// changes how a part behaves: each is the upstream command itself.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"
)

// parts maps a part's name to its main function, which reads os.Args.
var parts = map[string]func() int{
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kube-scheduler":          runScheduler,
	"kubectl":                 runKubectl,
	"node":                    runNode,
	"pki":                     runPKI,
}

func main() {
	os.Exit(run())
}

// run picks the part by the program's own name (a link called kubectl is
// kubectl) or else by the first argument.
func run() int {
	if part, ok := parts[filepath.Base(os.Args[0])]; ok {
		return part()
	}
	if len(os.Args) > 1 {
		if part, ok := parts[os.Args[1]]; ok {
			os.Args = append([]string{os.Args[1]}, os.Args[2:]...)
			return part()
		}
	}
	names := make([]string, 0, len(parts))
	for name := range parts {
		names = append(names, name)
	}
	sort.Strings(names)
	fmt.Fprintf(os.Stderr, "usage: %s PART [FLAGS]; PART is one of: %s\n", filepath.Base(os.Args[0]), strings.Join(names, ", "))
	return 2
}
