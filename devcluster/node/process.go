package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// process is a container's running process: the leader of a session and a process group of its own,
// so that the whole tree under it is ended with it.
type process struct {
	cmd    *exec.Cmd
	record string
	done   chan struct{} // closed when the leader has ended and its group was killed

	exitCode int32 // valid after done
	signal   int32 // valid after done; 0 for a process that ended by itself
}

// processRecord is how a process is found again by whoever cleans up after a killed node. The start
// time tells it from a later process with the same number.
type processRecord struct {
	PID   int    `json:"pid"`
	Start string `json:"start"`
}

// start starts the command with its output appended to the log file.
func start(c command, logPath, recordPath string) (*process, error) {
	path, err := lookPath(c.argv[0], c.env["PATH"], c.dir)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(c.dir); err != nil || !info.IsDir() {
		return nil, fmt.Errorf("working directory %q does not exist on this machine", c.dir)
	}
	output, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()                      //nolint:errcheck // the process has its own
	if err := c.as.own(logPath); err != nil { // it may open /dev/stdout
		return nil, err
	}
	cmd := &exec.Cmd{
		Path: path, Args: c.argv, Env: c.pairs(), Dir: c.dir, Stdout: output, Stderr: output,
		SysProcAttr: &syscall.SysProcAttr{Setsid: true},
	}
	if err := c.launch(cmd); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, record: recordPath, done: make(chan struct{})}
	writeRecord(recordPath, processRecord{PID: cmd.Process.Pid, Start: startTime(cmd.Process.Pid)})
	go p.wait()
	return p, nil
}

// wait ends the rest of the process group with its leader, as the end of a container's first process
// ends the container.
func (p *process) wait() {
	defer close(p.done)
	err := p.reap()
	os.Remove(p.record) //nolint:errcheck // a stale record is told by its start time
	status, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	switch {
	case ok && status.Signaled():
		p.signal = int32(status.Signal()) //nolint:gosec // small
		p.exitCode = 128 + p.signal
	case ok:
		p.exitCode = int32(status.ExitStatus()) //nolint:gosec // small
	case err != nil:
		p.exitCode = 255
	}
}

// kill signals the whole process group.
func (p *process) kill(signal syscall.Signal) {
	syscall.Kill(-p.cmd.Process.Pid, signal) //nolint:errcheck // the group may be gone
}

func writeRecord(path string, record processRecord) {
	content, _ := json.Marshal(record) //nolint:errchkjson // a number and a string
	os.WriteFile(path, content, 0o600) //nolint:errcheck // without it the environment still tells, on Linux
}

// lookPath finds a program as execvp does, but in the container's own PATH and working directory.
func lookPath(name, path, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	for _, folder := range filepath.SplitList(path) {
		candidate := filepath.Join(folder, name)
		if info, err := os.Stat(candidate); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}

// podStore is the folder of all pods' files: <root>/<pod uid>/<container>/…
type podStore struct{ root string }

// container is the folder of one container's files.
func (s *podStore) container(uid, name string) string {
	return filepath.Join(s.root, uid, name)
}

// logFile is where the output of a container's nth run goes.
func (s *podStore) logFile(uid, name string, run int32) string {
	return filepath.Join(s.container(uid, name), fmt.Sprintf("%d.log", run))
}

// prepare makes a container's folders and empties its termination log. The container's user owns its home and the
// log, and nothing above them: as that user may have changed what is in its home, root touches that only once.
func (s *podStore) prepare(uid, name string, as *identity) (home, termination string, err error) {
	folder := s.container(uid, name)
	home = filepath.Join(folder, "home")
	termination = filepath.Join(folder, "termination-log")
	if _, err := os.Lstat(home); err != nil {
		if err := errors.Join(passable(filepath.Dir(folder)), passable(folder)); err != nil {
			return "", "", err
		}
		for _, path := range []string{home, filepath.Join(home, "tmp")} {
			if err := errors.Join(os.Mkdir(path, 0o700), as.own(path)); err != nil {
				return "", "", err
			}
		}
	}
	return home, termination, errors.Join(os.WriteFile(termination, nil, 0o600), as.own(termination))
}

// passable makes a folder that other users can pass, but not list.
func passable(path string) error {
	return errors.Join(os.MkdirAll(path, 0o711), os.Chmod(path, 0o711))
}

// remove deletes a pod's files.
func (s *podStore) remove(uid string) {
	if uid != "" {
		os.RemoveAll(filepath.Join(s.root, uid)) //nolint:errcheck // tried again at the next start
	}
}

// prune deletes the files of pods that are no more.
func (s *podStore) prune(keep map[string]bool) {
	entries, err := os.ReadDir(s.root)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !keep[entry.Name()] {
			s.remove(entry.Name())
		}
	}
}

// killLeftovers ends the processes that an earlier node left: those recorded, if they still are the
// same ones, and on Linux also those that left their session but carry the mark of this folder.
func (s *podStore) killLeftovers() int {
	ended := 0
	records, _ := filepath.Glob(filepath.Join(s.root, "*", "*", "process.json")) //nolint:errcheck // a constant pattern
	for _, path := range records {
		content, err := os.ReadFile(path)
		var record processRecord
		if err == nil && json.Unmarshal(content, &record) == nil && record.PID > 1 &&
			record.Start != "" && startTime(record.PID) == record.Start {
			if errors.Is(syscall.Kill(-record.PID, syscall.SIGKILL), nil) {
				ended++
			}
		}
		os.Remove(path) //nolint:errcheck // told by its start time next time
	}
	for _, pid := range marked(terminationVariable + "=" + s.root + "/") {
		if errors.Is(syscall.Kill(pid, syscall.SIGKILL), nil) {
			ended++
		}
	}
	return ended
}
