//go:build !linux

package node

import (
	"os"
	"os/exec"
	"syscall"
)

// whoWeAre looks at what this process may do.
func whoWeAre() users {
	root := os.Geteuid() == 0
	return users{root: root, become: root}
}

// launch starts a process as its user.
func (c command) launch(cmd *exec.Cmd) error {
	if c.as != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.as.uid, Gid: c.as.gid, Groups: c.as.groups}
	}
	return cmd.Start()
}
