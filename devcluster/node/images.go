package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// image is what a container image comes down to when nothing is unpacked.
type image struct {
	Entrypoint []string          `json:"entrypoint"`
	Env        map[string]string `json:"env"`
	WorkingDir string            `json:"workingDir"`
	// ReadsAll lets its containers read all files, if their user could not get to their program otherwise.
	ReadsAll bool `json:"readsAll"`

	id string // stands where a real node reports the image's digest
}

// imageTable is the set of known images, read from a file and again whenever the file changes.
type imageTable struct {
	path string

	mu      sync.Mutex
	changed time.Time
	size    int64
	images  map[string]image
	err     error
}

func newImageTable(path string) *imageTable {
	return &imageTable{path: path}
}

// lookup finds an image by name; a name without a tag means latest, as everywhere.
// The error's text is for the pod's status and names the image.
func (t *imageTable) lookup(name string) (image, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refresh()
	if t.err != nil {
		return image{}, fmt.Errorf("failed to pull image %q: the image table cannot be read: %w", name, t.err)
	}
	if found, ok := t.images[withTag(name)]; ok {
		return found, nil
	}
	return image{}, fmt.Errorf("failed to pull image %q: not found in the local cluster's image table", name)
}

// refresh rereads the file if it is another one than last time. A missing file is an empty table.
func (t *imageTable) refresh() {
	info, err := os.Stat(t.path)
	if os.IsNotExist(err) {
		t.changed, t.images, t.err = time.Time{}, nil, nil
		return
	}
	if err != nil {
		t.err = err
		return
	}
	if info.ModTime().Equal(t.changed) && info.Size() == t.size {
		return
	}
	content, err := os.ReadFile(t.path)
	if err != nil {
		t.err = err
		return
	}
	read := map[string]image{}
	if t.err = json.Unmarshal(content, &read); t.err != nil {
		return
	}
	t.changed, t.size, t.images = info.ModTime(), info.Size(), map[string]image{}
	for name, entry := range read {
		encoded, _ := json.Marshal(entry) //nolint:errchkjson // strings alone
		sum := sha256.Sum256(encoded)
		entry.id = "local://" + name + "@sha256:" + hex.EncodeToString(sum[:])
		t.images[withTag(name)] = entry
	}
}

// withTag completes an image name that has neither a tag nor a digest.
func withTag(name string) string {
	last := name[strings.LastIndex(name, "/")+1:]
	if strings.ContainsAny(last, ":@") {
		return name
	}
	return name + ":latest"
}
