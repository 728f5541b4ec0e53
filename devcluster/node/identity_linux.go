package node

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// whoWeAre looks at what this process may do. Root of a user namespace that is an ordinary user outside, and may
// become nobody else, is not the machine's root.
func whoWeAre() users {
	if os.Geteuid() != 0 {
		return users{}
	}
	if able(unix.CAP_SETUID) && able(unix.CAP_SETGID) && able(unix.CAP_CHOWN) && onThread(func() error { return become(&identity{uid: nobody, gid: nobody}, 0) }) == nil {
		return users{root: true, become: true}
	}
	mapped, err := os.ReadFile("/proc/self/uid_map")
	fields := strings.Fields(string(mapped))
	return users{root: err != nil || len(fields) < 2 || fields[1] == "0"}
}

// launch starts a process as its user. Where that user cannot reach the program, but the image is one whose
// containers may read all files, the process gets the capability to do so.
//
// The capability has to be in effect before the program is executed, which Go's SysProcAttr cannot do. On Linux,
// users and capabilities belong to threads, and a process starts with those of the thread that starts it.
func (c command) launch(cmd *exec.Cmd) error {
	if c.as == nil {
		return cmd.Start()
	}
	needed, err := c.capability(cmd.Path)
	if err != nil {
		return err
	}
	return onThread(func() error {
		if err := become(c.as, needed); err != nil {
			return fmt.Errorf("becoming user %d: %w", c.as.uid, err)
		}
		return cmd.Start()
	})
}

// capability is what the process needs to get to its program: none, or to read all files, or where the node itself
// cannot give that one, as in Docker, to write them too; the latter only for the image's own program.
func (c command) capability(path string) (uint, error) {
	if !c.readsAll {
		return 0, nil
	}
	closed := c.as.firstClosed(path, c.dir)
	switch {
	case closed == "":
		return 0, nil
	case able(unix.CAP_DAC_READ_SEARCH):
		return unix.CAP_DAC_READ_SEARCH, nil
	case able(unix.CAP_DAC_OVERRIDE) && c.entrypoint:
		return unix.CAP_DAC_OVERRIDE, nil
	}
	return 0, fmt.Errorf("no container runs as root, and user %d cannot enter %s: run `chmod o+x %s`, or start the cluster as an ordinary user", c.as.uid, closed, closed)
}

// able tells whether this process has a capability.
func able(capability uint) bool {
	_, data, err := capabilities()
	return err == nil && data[capability/32].Effective&(1<<(capability%32)) != 0
}

func capabilities() (unix.CapUserHeader, [2]unix.CapUserData, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	err := unix.Capget(&header, &data[0])
	return header, data, err
}

// onThread calls the function on a thread of its own, which ends with it: what the function changes about the
// thread's user concerns nothing else.
func onThread(call func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked, so the thread is not used again
		result <- call()
	}()
	return <-result
}

// secureNoSetuidFixup is SECBIT_NO_SETUID_FIXUP of linux/securebits.h.
const secureNoSetuidFixup = 1 << 2

// become changes the user of the calling thread, for ever, and leaves it at most one capability, which the programs
// that it starts keep. Setresuid and its like, of syscall and of unix, would change the user of all threads.
func become(as *identity, capability uint) error {
	groups := make([]int, len(as.groups))
	for i, group := range as.groups {
		groups[i] = int(group)
	}
	keep := 0
	if capability != 0 {
		keep = 1
	}
	if err := unix.Prctl(unix.PR_SET_KEEPCAPS, uintptr(keep), 0, 0, 0); err != nil {
		return err
	}
	if capability != 0 {
		// access(2) does not know of the capabilities of other users than root without it, and Python's os.access asks
		// that; where it may not be set, everything else works
		_ = unix.Prctl(unix.PR_SET_SECUREBITS, secureNoSetuidFixup, 0, 0, 0)
	}
	if err := unix.Setgroups(groups); err != nil {
		return err
	}
	gid, uid := uintptr(as.gid), uintptr(as.uid)
	if _, _, failed := unix.RawSyscall(unix.SYS_SETRESGID, gid, gid, gid); failed != 0 {
		return failed
	}
	if _, _, failed := unix.RawSyscall(unix.SYS_SETRESUID, uid, uid, uid); failed != 0 {
		return failed
	}
	if capability == 0 {
		return nil
	}
	header, _, err := capabilities()
	if err != nil {
		return err
	}
	var only [2]unix.CapUserData
	bit := uint32(1) << (capability % 32)
	only[capability/32] = unix.CapUserData{Effective: bit, Permitted: bit, Inheritable: bit}
	if err := unix.Capset(&header, &only[0]); err != nil {
		return err
	}
	return unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(capability), 0, 0)
}

// firstClosed is the first file or folder on the way to a path that the user cannot pass, with links followed;
// empty if there is none.
func (as *identity) firstClosed(paths ...string) string {
	for _, path := range paths {
		if followed, err := filepath.EvalSymlinks(path); err == nil && followed != path {
			if closed := as.firstClosed(followed); closed != "" {
				return closed
			}
		}
		for at := path; ; at = filepath.Dir(at) {
			if info, err := os.Stat(at); err == nil && !as.passes(info) {
				return at
			}
			if at == filepath.Dir(at) {
				break
			}
		}
	}
	return ""
}

// passes tells whether the mode of a file or folder lets the user execute or enter it.
func (as *identity) passes(info os.FileInfo) bool {
	stat := info.Sys().(*syscall.Stat_t)
	switch {
	case stat.Uid == as.uid:
		return info.Mode()&0o100 != 0
	case stat.Gid == as.gid || slices.Contains(as.groups, stat.Gid):
		return info.Mode()&0o010 != 0
	}
	return info.Mode()&0o001 != 0
}
