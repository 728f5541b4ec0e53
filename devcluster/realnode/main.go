// Command carillon-node is what a real node needs beside containerd, in one binary: kubelet, kube-proxy,
// the cluster's DNS, and the maker of the node's certificates.
//
// Its first argument names the part to be, as in carillon-devcluster. It is a program of its own, in a module
// of its own, so that whoever never starts a real node never compiles one. The Python package
// carillon_devcluster.realnode builds and starts it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // the client's metrics, as in the upstream mains
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version metric, as in the upstream mains
	kubeproxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func main() {
	os.Exit(run())
}

// run picks the part by the first argument.
func run() int {
	part := ""
	if len(os.Args) > 1 {
		part = os.Args[1]
		os.Args = append([]string{part}, os.Args[2:]...)
	}
	switch part {
	case "coredns":
		return runCoreDNS(os.Args[1:])
	case "kubelet":
		return cli.Run(kubelet.NewKubeletCommand(context.Background()))
	case "kube-proxy":
		return cli.Run(kubeproxy.NewProxyCommand())
	case "pki":
		return runPKI(os.Args[1:])
	}
	fmt.Fprintf(os.Stderr, "usage: %s PART [FLAGS]; PART is one of: coredns, kube-proxy, kubelet, pki\n", filepath.Base(os.Args[0]))
	return 2
}
