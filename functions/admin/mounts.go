package admin

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/chandler-broker/chandler/functions/sandbox"
	"github.com/chandler-broker/chandler/functions/state"
)

// Mount is a directory of this machine that a namespace's actions see.
type Mount struct {
	// Instance is the client's own name for the directory.
	Instance string `json:"instance"`
	// Path is where actions see it.
	Path string `json:"path"`
	// Folder is the directory's absolute path on the runtimes' machines.
	Folder   string `json:"folder"`
	ReadOnly bool   `json:"read_only"`
}

const (
	maxMounts    = 8
	maxMountPath = 128
	maxInstance  = 255
)

// mountRule keeps to names that need no quoting anywhere.
var mountRule = regexp.MustCompile(`^(/[A-Za-z0-9_-][A-Za-z0-9._-]*)+$`)

// identifyAll checks the mounts and identifies their directories: one that takes the
// place of another later is not mounted.
func identifyAll(mounts []Mount) (identified []state.Mount, faults []string) {
	if len(mounts) > maxMounts {
		return nil, []string{fmt.Sprintf("mounts: must be %d at most", maxMounts)}
	}
	identified = []state.Mount{}
	for i, m := range mounts {
		for _, fault := range m.faults(mounts[:i]) {
			faults = append(faults, fmt.Sprintf("mounts[%d].%s", i, fault))
		}
		one, err := m.identify()
		if err != nil {
			faults = append(faults, fmt.Sprintf("mounts[%d].folder: %v", i, err))
		}
		identified = append(identified, one)
	}
	return identified, faults
}

func (m Mount) faults(others []Mount) (faults []string) {
	if m.Instance == "" || utf8.RuneCountInString(m.Instance) > maxInstance {
		faults = append(faults, fmt.Sprintf("instance: must have 1 to %d characters", maxInstance))
	}
	if len(m.Path) > maxMountPath || !mountRule.MatchString(m.Path) {
		faults = append(faults, fmt.Sprintf("path: must be absolute, of A-Z, a-z, 0-9 and ._- between the slashes and no part beginning with a dot, %d characters at most", maxMountPath))
	}
	for _, other := range others {
		if within(m.Path, other.Path) || within(other.Path, m.Path) {
			faults = append(faults, "path: another mount is at, above or below it")
		}
	}
	return faults
}

// within says whether inner is outer or below it.
func within(inner, outer string) bool {
	return strings.HasPrefix(path.Clean(inner)+"/", path.Clean(outer)+"/")
}

func (m Mount) identify() (state.Mount, error) {
	if !filepath.IsAbs(m.Folder) || filepath.Clean(m.Folder) != m.Folder {
		return state.Mount{}, errors.New("must be the absolute path of a directory")
	}
	info, err := os.Lstat(m.Folder)
	if err == nil && !info.IsDir() {
		err = fmt.Errorf("%s is not a directory", m.Folder)
	}
	if err != nil {
		return state.Mount{}, err
	}
	is, err := sandbox.IdentityOf(m.Folder)
	if err != nil {
		return state.Mount{}, err
	}
	return state.Mount{
		Instance: m.Instance, Path: m.Path, Folder: m.Folder, ReadOnly: m.ReadOnly,
		Device: is.Device, Inode: is.Inode, Born: is.Born,
	}, nil
}
