//go:build !linux

package node

import (
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// reap waits for the leader's end and kills its group. Between the two the number is free, for an
// instant; there is no portable way to hold it.
func (p *process) reap() error {
	err := p.cmd.Wait()
	p.kill(syscall.SIGKILL)
	return err
}

// startTime is when a process started, as ps prints it. Empty if there is no such process.
func startTime(pid int) string {
	output, err := exec.Command("/bin/ps", "-o", "lstart=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		return ""
	}
	return strings.Join(strings.Fields(string(output)), " ")
}

// marked finds nothing: another process's environment cannot be read here.
func marked(string) []int { return nil }
