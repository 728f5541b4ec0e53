// Package node is a Kubernetes node that runs each container's command as a
// local process, never as root: no images, no container engine, and pods that start
// in milliseconds. It is what the local cluster schedules pods to.
//
// It is virtual-kubelet's library: its node controller does registration,
// heartbeats and the lease, and its pod controller follows the pods. What is
// ours is the provider that it drives, and what the provider makes of a pod.
package node

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"net"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	vklog "github.com/virtual-kubelet/virtual-kubelet/log"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// options are the node's flags.
type options struct {
	kubeconfig string
	nodeName   string
	images     string
	stateDir   string
	port       int
	tlsCert    string
	tlsKey     string
	clientCA   string
	clientName string
}

// parse reads the flags; every path becomes absolute, as pods get other working directories.
func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("node", flag.ContinueOnError)
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "how to reach the API server, as a kubeconfig file")
	flags.StringVar(&o.nodeName, "node-name", "local", "the node's name")
	flags.StringVar(&o.images, "images", "", "the image table: a JSON object of image name to entrypoint, env, workingDir and readsAll")
	flags.StringVar(&o.stateDir, "state-dir", "", "where logs, scratch folders and process records are kept")
	flags.IntVar(&o.port, "port", 0, "the loopback port for container logs")
	flags.StringVar(&o.tlsCert, "tls-cert-file", "", "serving certificate for container logs")
	flags.StringVar(&o.tlsKey, "tls-private-key-file", "", "its key")
	flags.StringVar(&o.clientCA, "client-ca-file", "", "the CA of those who may read container logs")
	flags.StringVar(&o.clientName, "client-name", "kube-apiserver-kubelet-client", "the common name of the one who may")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for name, path := range map[string]*string{
		"kubeconfig": &o.kubeconfig, "images": &o.images, "state-dir": &o.stateDir,
		"tls-cert-file": &o.tlsCert, "tls-private-key-file": &o.tlsKey, "client-ca-file": &o.clientCA,
	} {
		if *path == "" {
			return o, fmt.Errorf("--%s is required", name)
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return o, err
		}
		*path = absolute
	}
	return o, nil
}

// Main runs the node until SIGTERM or SIGINT and returns the exit code.
func Main(args []string) int {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "node:", err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := serve(ctx, o); err != nil {
		log.Printf("node: %v", err)
		return 1
	}
	return 0
}

// serve wires the parts together; it returns when ctx ends and every process has.
func serve(ctx context.Context, o options) error {
	config, err := clientcmd.BuildConfigFromFlags("", o.kubeconfig)
	if err != nil {
		return fmt.Errorf("reading the kubeconfig: %w", err)
	}
	// The API server's own fairness limits this client; a second limit here would only delay pods.
	config.QPS = -1
	config.ContentType = "application/vnd.kubernetes.protobuf"
	config.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making the client: %w", err)
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return fmt.Errorf("reading the API server's address: %w", err)
	}

	pods := &podStore{root: filepath.Join(o.stateDir, "pods")}
	if err := passable(pods.root); err != nil {
		return err
	}
	// A node that was killed leaves its pods' processes; they are nobody's now.
	if ended := pods.killLeftovers(); ended > 0 {
		log.Printf("ended %d processes of an earlier run", ended)
	}

	vklog.L = warnings{Logger: vklog.L}
	provider := newProvider(client, o.nodeName, pods, newImageTable(o.images), apiEnvironment(server))
	provider.users = whoWeAre()
	logs, err := newLogServer(o, provider)
	if err != nil {
		return err
	}
	failed := make(chan error, 3)
	go func() { failed <- logs.run(ctx) }()
	go func() { failed <- register(ctx, client, nodeObject(o.nodeName, o.port)) }()
	go func() { failed <- provider.run(ctx) }()
	log.Printf("node %s is up: %s/%s, logs on port %d", o.nodeName, runtime.GOOS, runtime.GOARCH, o.port)

	select {
	case <-ctx.Done():
	case err = <-failed:
		if ctx.Err() != nil {
			err = nil
		}
	}
	provider.shutdown(2 * time.Second)
	pods.killLeftovers()
	return err
}

// apiEnvironment is what a pod on a real node finds of the API server in its environment.
// Services have no addresses here, so the pod gets the server's own one.
func apiEnvironment(server *url.URL) map[string]string {
	host, port, err := net.SplitHostPort(server.Host)
	if err != nil {
		host, port = server.Host, "443"
	}
	return map[string]string{"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBERNETES_SERVICE_PORT_HTTPS": port}
}
