package node

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// asRoot gives a folder that only root can enter, and the user that containers get.
func asRoot(t *testing.T) (string, *identity) {
	t.Helper()
	if !whoWeAre().become {
		t.Skip("only root can become another user")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	return closed, &identity{uid: nobody, gid: nobody, groups: []uint32{65533}, files: nobody}
}

// said runs a program of a closed folder as another user, and gives its output.
func said(t *testing.T, script string, readsAll bool) (string, int32, error) {
	t.Helper()
	closed, as := asRoot(t)
	program := closed + "/program"
	if err := os.WriteFile(program, []byte("#!/bin/sh\n"+script), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	c := command{argv: []string{program}, dir: "/", env: map[string]string{"PATH": defaultPath}, as: as, readsAll: readsAll}
	p, err := start(c, closed+"/log", closed+"/process.json")
	if err != nil {
		return "", 0, err
	}
	<-p.done
	return tail(closed+"/log", 1000), p.exitCode, nil
}

func TestProcessIsItsUserAndTheNodeStaysRoot(t *testing.T) {
	script := `id -u; id -g; id -G; echo written > "$0" || echo "not written"` + "\n"
	got, _, err := said(t, script, true)
	if err != nil || !strings.HasPrefix(got, "65534\n65534\n65534 65533\n") || !strings.HasSuffix(got, "not written\n") {
		t.Errorf("got %q, %v", got, err)
	}
	if os.Geteuid() != 0 || whoWeAre() != (users{root: true, become: true}) {
		t.Errorf("the node itself is another user now: %d", os.Geteuid())
	}
}

func TestProgramInAClosedFolderNeedsAnImageThatReadsAll(t *testing.T) {
	if got, _, err := said(t, "echo read", false); !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCapabilityIsOnlyGivenWhereItIsNeeded(t *testing.T) {
	_, as := asRoot(t)
	open := command{argv: []string{"sh"}, dir: "/", as: as, readsAll: true}
	if got, err := open.capability("/bin/sh"); got != 0 || err != nil {
		t.Errorf("got %d, %v", got, err)
	}
}

func TestRestartTouchesNothingInAHomeThatItsUserHasChanged(t *testing.T) {
	folder, as := asRoot(t)
	store := &podStore{root: folder}
	home, _, err := store.prepare("uid", "main", as)
	if err != nil {
		t.Fatal(err)
	}
	target := folder + "/root's"
	if err := errors.Join(os.Mkdir(target, 0o700), os.RemoveAll(home+"/tmp"), os.Symlink(target, home+"/tmp")); err != nil {
		t.Fatal(err)
	}
	if _, _, err := store.prepare("uid", "main", as); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(target)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("root's folder was given away: %v, %v", info, err)
	}
}
