package node

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The waits of a real node. The first restart is at once; then 10 s, doubled up to 5 min, and from the
// start again after a run of 10 min.
const (
	restartFirst = 10 * time.Second
	restartMost  = 5 * time.Minute
	restartReset = 10 * time.Minute
)

// imageRetry and configRetry are shorter than a real node's, since looking again costs nothing here.
const (
	imageRetry  = time.Second
	configRetry = time.Second
)

// The lengths of a termination message: from the file, and from the log where there is no file.
const (
	messageMost     = 4096
	messageLogMost  = 2048
	messageLogLines = 80
)

// slot is one container of a pod and the place of its status.
type slot struct {
	worker  *worker
	spec    *corev1.Container
	status  *corev1.ContainerStatus // guarded by the worker's lock
	initial bool
	runs    int32
}

// runContainer runs a container as often as its pod's restart policy says; true if it ended well.
func (w *worker) runContainer(s *slot) bool {
	var wait time.Duration
	for w.ctx.Err() == nil {
		began := time.Now()
		ended, ok := s.runOnce()
		if !ok {
			return false
		}
		again := restarts(w.pod.Spec.RestartPolicy, s.initial, ended.ExitCode)
		if !again || w.ctx.Err() != nil {
			return ended.ExitCode == 0
		}
		if time.Since(began) > restartReset {
			wait = 0
		}
		if wait > 0 {
			w.change(func() {
				s.status.State = waiting(reasonCrashLoop, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
					wait, s.spec.Name, w.pod.Name, w.pod.Namespace, w.pod.UID))
				s.status.LastTerminationState = corev1.ContainerState{Terminated: ended}
			})
			if !w.pause(wait) {
				w.change(func() { // the last run's end is the container's end
					s.status.State = corev1.ContainerState{Terminated: ended}
					s.status.LastTerminationState = corev1.ContainerState{}
				})
				return false
			}
		}
		wait = min(max(2*wait, restartFirst), restartMost)
		s.runs++
		w.change(func() {
			s.status.RestartCount = s.runs
			s.status.LastTerminationState = corev1.ContainerState{Terminated: ended}
		})
	}
	return false
}

// restarts is the restart policy: an init container that succeeded is done in any case.
func restarts(policy corev1.RestartPolicy, initial bool, exitCode int32) bool {
	switch policy {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return exitCode != 0
	}
	return !initial || exitCode != 0
}

// runOnce waits for the image and the configuration, runs the process and reports its end. It is false
// if the pod was ended before the process could start.
func (s *slot) runOnce() (*corev1.ContainerStateTerminated, bool) {
	w := s.worker
	uid := string(w.pod.UID)
	found, ok := s.awaitImage()
	if !ok {
		return nil, false
	}
	var as *identity
	if !s.awaitConfig(func() (err error) { as, err = w.users.of(w.pod, s.spec); return err }) {
		return nil, false
	}
	home, termination, err := w.pods.prepare(uid, s.spec.Name, as)
	if err != nil {
		return s.finished(time.Now(), 128, 0, reasonStartError, err.Error()), true
	}
	var command command
	if !s.awaitConfig(func() (err error) {
		command, err = w.from.resolve(w.ctx, w.pod, s.spec, found, home, termination)
		return err
	}) {
		return nil, false
	}
	command.as = as
	logPath := w.pods.logFile(uid, s.spec.Name, s.runs)
	began := time.Now()
	p, err := start(command, logPath, w.pods.container(uid, s.spec.Name)+"/process.json")
	if err != nil {
		return s.finished(began, 128, 0, reasonStartError, err.Error()), true
	}
	w.add(p)
	defer w.remove(p)
	w.change(func() {
		s.status.ContainerID = fmt.Sprintf("process://%s-%s-%d-%d", uid, s.spec.Name, s.runs, p.cmd.Process.Pid)
		s.status.ImageID = found.id
		s.status.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(began)}}
		setReady(s.status, true)
	})
	select {
	case <-p.done:
	case <-w.kill:
		p.kill(syscall.SIGKILL)
		<-p.done
	}
	reason := reasonCompleted
	if p.exitCode != 0 {
		reason = reasonError
	}
	return s.finished(began, p.exitCode, p.signal, reason, s.message(termination, logPath, p.exitCode)), true
}

// finished puts the end of a run into the status.
func (s *slot) finished(began time.Time, exitCode, signal int32, reason, message string) *corev1.ContainerStateTerminated {
	ended := &corev1.ContainerStateTerminated{
		ExitCode: exitCode, Signal: signal, Reason: reason, Message: message,
		StartedAt: metav1.NewTime(began), FinishedAt: metav1.Now(),
	}
	s.worker.change(func() {
		ended.ContainerID = s.status.ContainerID
		s.status.State = corev1.ContainerState{Terminated: ended}
		setReady(s.status, false)
		if s.initial && exitCode == 0 {
			s.status.Ready = true // what a real node says of an init container that did its work
		}
	})
	return ended
}

// awaitImage returns when the image is in the table; false if the pod is ended first.
func (s *slot) awaitImage() (image, bool) {
	for reason := reasonErrImagePull; ; reason = reasonImagePullBackOff {
		found, err := s.worker.images.lookup(s.spec.Image)
		if err == nil {
			return found, true
		}
		message := err.Error()
		if reason == reasonImagePullBackOff {
			message = fmt.Sprintf("Back-off pulling image %q: %s", s.spec.Image, message)
		}
		s.wait(reason, message)
		if !s.worker.pause(imageRetry) {
			return image{}, false
		}
	}
}

// awaitConfig returns when the container's configuration can be made, such as its environment when all that it
// refers to is there; false if the pod is ended first.
func (s *slot) awaitConfig(try func() error) bool {
	for {
		err := try()
		if err == nil {
			return true
		}
		if s.worker.ctx.Err() == nil {
			s.wait(reasonConfigError, err.Error())
		}
		if !s.worker.pause(configRetry) {
			return false
		}
	}
}

// wait shows why the container does not run yet, if that is news.
func (s *slot) wait(reason, message string) {
	if now := s.status.State.Waiting; now != nil && now.Reason == reason && now.Message == message {
		return
	}
	s.worker.change(func() { s.status.State = waiting(reason, message) })
}

// message is the container's last word, from its termination log or, if the pod wants that, from its output.
func (s *slot) message(termination, logPath string, exitCode int32) string {
	message := tail(termination, messageMost)
	if message == "" && exitCode != 0 && s.spec.TerminationMessagePolicy == corev1.TerminationMessageFallbackToLogsOnError {
		lines := strings.SplitAfter(tail(logPath, messageLogMost), "\n")
		message = strings.Join(lines[max(0, len(lines)-messageLogLines):], "")
	}
	return strings.ToValidUTF8(message, "�")
}

// tail reads at most the last bytes of a file; nothing if there is none.
func tail(path string, most int64) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close() //nolint:errcheck // only read
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	content := make([]byte, min(most, info.Size()))
	n, _ := file.ReadAt(content, info.Size()-int64(len(content))) //nolint:errcheck // what was read is what counts
	return string(content[:n])
}

// pause waits; false if the pod is ended meanwhile.
func (w *worker) pause(duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

func waiting(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}
