package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// followEvery is how often a followed log is looked at again.
const followEvery = 100 * time.Millisecond

// logServer answers the API server's requests for container logs, as a kubelet does. It listens on
// loopback alone and only talks to the holder of the API server's client certificate.
type logServer struct {
	provider *provider
	client   string
	listener net.Listener
	tls      *tls.Config
}

// newLogServer takes the port at once, so that a busy one is an error at the start.
func newLogServer(o options, p *provider) (*logServer, error) {
	certificate, err := tls.LoadX509KeyPair(o.tlsCert, o.tlsKey)
	if err != nil {
		return nil, fmt.Errorf("reading the serving certificate: %w", err)
	}
	authority, err := os.ReadFile(o.clientCA)
	if err != nil {
		return nil, fmt.Errorf("reading the client CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("no certificate in %s", o.clientCA)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(o.port)))
	if err != nil {
		return nil, err
	}
	return &logServer{provider: p, client: o.clientName, listener: listener, tls: &tls.Config{
		Certificates: []tls.Certificate{certificate},
		ClientAuth:   tls.RequireAndVerifyClientCert,
		ClientCAs:    pool,
		MinVersion:   tls.VersionTLS12,
	}}, nil
}

// run serves until ctx ends.
func (s *logServer) run(ctx context.Context) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", s.serve)
	server := &http.Server{
		Handler: mux, TLSConfig: s.tls, ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    log.New(io.Discard, "", 0),
	}
	go func() {
		<-ctx.Done()
		server.Close() //nolint:errcheck // going down anyway
	}()
	if err := server.ServeTLS(s.listener, "", ""); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// serve answers one request: follow, previous, tailLines and limitBytes are honoured. Lines carry no
// time of their own, so sinceTime, sinceSeconds and timestamps are not.
func (s *logServer) serve(w http.ResponseWriter, r *http.Request) {
	if peer := r.TLS.PeerCertificates; len(peer) == 0 || peer[0].Subject.CommonName != s.client {
		http.Error(w, "only the API server may read container logs", http.StatusForbidden)
		return
	}
	pod, ok := s.provider.lookup(r.PathValue("namespace"), r.PathValue("pod"))
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q is not on this node", r.PathValue("pod")), http.StatusNotFound)
		return
	}
	name, query := r.PathValue("container"), r.URL.Query()
	run, started := s.current(pod, name)
	if query.Get("previous") == "true" {
		run--
	}
	if !started || run < 0 {
		http.Error(w, fmt.Sprintf("container %q in pod %q is waiting to start", name, pod.Name), http.StatusBadRequest)
		return
	}
	file, err := os.Open(s.provider.pods.logFile(string(pod.UID), name, run))
	if err != nil {
		http.Error(w, fmt.Sprintf("container %q in pod %q has no log", name, pod.Name), http.StatusNotFound)
		return
	}
	defer file.Close() //nolint:errcheck // only read
	var out io.Writer = w
	if limit, err := strconv.ParseInt(query.Get("limitBytes"), 10, 64); err == nil {
		out = &limitedWriter{to: w, left: limit}
	}
	if lines, err := strconv.Atoi(query.Get("tailLines")); err == nil {
		if err := seekLines(file, lines); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain")
	s.send(r.Context(), w, out, file, func() bool {
		return query.Get("follow") == "true" && s.live(pod, name, run)
	})
}

// send copies the file, and what is appended to it for as long as more is true.
func (s *logServer) send(ctx context.Context, w http.ResponseWriter, out io.Writer, file io.Reader, more func() bool) {
	flush := http.NewResponseController(w)
	for {
		again := more() // asked before reading, so that nothing written in between is missed
		if _, err := io.Copy(out, file); err != nil {
			return
		}
		flush.Flush() //nolint:errcheck // a lost client shows in the next copy
		if !again {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(followEvery):
		}
	}
}

// current is the number of a container's newest run, and whether there was one.
func (s *logServer) current(pod *corev1.Pod, name string) (int32, bool) {
	status := s.container(pod, name)
	if status == nil {
		return 0, false
	}
	run := status.RestartCount
	if status.State.Waiting != nil && status.LastTerminationState.Terminated != nil && run > 0 {
		// Waiting in between two runs: the newest log is the one before.
		if _, err := os.Stat(s.provider.pods.logFile(string(pod.UID), name, run)); err != nil {
			run--
		}
	}
	return run, status.ContainerID != "" || status.State.Terminated != nil
}

// live tells whether this run of the container is going on. Only the worker knows: the pod is as old as
// the request for its log.
func (s *logServer) live(pod *corev1.Pod, name string, run int32) bool {
	if s.provider.worker(pod.UID) == nil {
		return false
	}
	status := s.container(pod, name)
	return status != nil && status.State.Running != nil && status.RestartCount == run
}

// container is a container's status: the worker's, which is newer than the API's, if there is one.
func (s *logServer) container(pod *corev1.Pod, name string) *corev1.ContainerStatus {
	status := pod.Status
	if w := s.provider.worker(pod.UID); w != nil {
		status = w.observe()
	}
	for _, list := range [][]corev1.ContainerStatus{status.ContainerStatuses, status.InitContainerStatuses} {
		for i := range list {
			if list[i].Name == name {
				return &list[i]
			}
		}
	}
	return nil
}

// seekLines places the file at the start of its last lines.
func seekLines(file *os.File, lines int) error {
	position, err := file.Seek(0, io.SeekEnd)
	if err != nil || lines <= 0 {
		return err
	}
	block := make([]byte, 64*1024)
	end := position
	for position > 0 {
		size := min(int64(len(block)), position)
		position -= size
		if _, err := file.ReadAt(block[:size], position); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		for at := bytes.LastIndexByte(block[:size], '\n'); at >= 0; at = bytes.LastIndexByte(block[:at], '\n') {
			if position+int64(at) == end-1 {
				continue // the newline that ends the last line
			}
			if lines--; lines == 0 {
				_, err := file.Seek(position+int64(at)+1, io.SeekStart)
				return err
			}
		}
	}
	_, err = file.Seek(0, io.SeekStart)
	return err
}

// limitedWriter stops after so many bytes.
type limitedWriter struct {
	to   io.Writer
	left int64
}

func (l *limitedWriter) Write(content []byte) (int, error) {
	if int64(len(content)) >= l.left {
		n, _ := l.to.Write(content[:l.left]) //nolint:errcheck // over in any case
		l.left = 0
		return n, io.EOF
	}
	l.left -= int64(len(content))
	return l.to.Write(content)
}
