package node

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// reap waits for the leader's end, kills its group and only then lets go of the leader's number, so
// that the group cannot be a newcomer's by then.
func (p *process) reap() error {
	for {
		err := unix.Waitid(unix.P_PID, p.cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR { //nolint:errorlint // an errno as it is
			break
		}
	}
	p.kill(unix.SIGKILL)
	return p.cmd.Wait()
}

// startTime is when a process started, in ticks since boot: field 22 of its stat file, counted after
// the command's name, which may itself hold spaces and brackets. Empty if there is no such process.
func startTime(pid int) string {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
	if len(fields) < 20 {
		return ""
	}
	return fields[19]
}

// marked lists the processes whose environment has an entry that starts with the mark.
func marked(mark string) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []int
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil {
			continue
		}
		if bytes.HasPrefix(environment, []byte(mark)) || bytes.Contains(environment, []byte("\x00"+mark)) {
			found = append(found, pid)
		}
	}
	return found
}
