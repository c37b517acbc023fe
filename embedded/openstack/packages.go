package openstack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"github.com/chandler-broker/chandler/embedded"
)

// ErrNotUnpacked says that this machine lacks OpenStack's packages, and how to get them.
var ErrNotUnpacked = errors.New("unpack OpenStack and Ceph: sudo deploy/install/dependencies openstack (on Debian 12)")

// packagesFolder is where deploy/install/dependencies unpacks the packages. Its number changes with
// the list of packages.
const packagesFolder = "/var/cache/chandler/openstack-1"

// packages are the unpacked packages of OpenStack and Ceph.
type packages struct {
	root   string // has the folders usr, etc and so on
	python string
}

func findPackages() (packages, error) {
	p := packages{root: filepath.Join(packagesFolder, "root")}
	if _, err := os.Stat(p.root); err != nil {
		return p, fmt.Errorf("%s is missing: %w", packagesFolder, ErrNotUnpacked)
	}
	// Debian's, for which the packages' libraries are built: one in PATH may be another.
	for _, p.python = range []string{p.path("usr/bin/python3.11"), "/usr/bin/python3.11"} {
		if _, err := os.Stat(p.python); err == nil {
			return p, nil
		}
	}
	return p, fmt.Errorf("/usr/bin/python3.11 is missing: remove %s, and repeat: %w", packagesFolder, ErrNotUnpacked)
}

func (p packages) path(name string) string { return filepath.Join(p.root, name) }

// libraries is the folder of the shared libraries, by Debian's name for the architecture.
func (p packages) libraries() string {
	name := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[runtime.GOARCH]
	return p.path("usr/lib/" + name)
}

// environment lets programs find the packages. scripts is a folder of Python modules beside them.
func (p packages) environment(scripts, bytecode string) []string {
	l := p.libraries()
	return []string{
		"PATH=" + p.path("usr/bin") + ":" + p.path("usr/sbin") + ":" + p.path("sbin") + ":/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
		"LD_LIBRARY_PATH=" + l + ":" + l + "/ceph:" + p.path("lib/"+filepath.Base(l)),
		"PYTHONPATH=" + scripts + ":" + p.path("usr/lib/python3/dist-packages"),
		// The servers' user cannot write beside the modules, and compiling them takes longer
		// than all else that a start does.
		"PYTHONPYCACHEPREFIX=" + bytecode,
		"PYTHONWARNINGS=ignore",
	}
}

// cacheFolder is a folder for what is made of the packages. It is root's or the user's own, but
// everybody can reach root's, as its servers' user must.
func cacheFolder() (string, error) {
	if os.Geteuid() == 0 {
		return filepath.Dir(packagesFolder), nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find a folder for OpenStack's databases: %w", err)
	}
	return filepath.Join(cache, "chandler"), nil
}

// version says whether a machine's MariaDB server can use the data of another's.
func version(ctx context.Context, program string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return nil, fmt.Errorf("ask %s for its version: %w", program, err)
	}
	return out, nil
}

// NotInstalled says whether a cloud did not start because something is not installed. The error's
// text says what to install.
func NotInstalled(err error) bool {
	return errors.Is(err, ErrNotUnpacked) || embedded.NotInstalled(err)
}
