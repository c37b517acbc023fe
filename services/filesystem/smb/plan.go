package smb

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/usage"
)

// Plan is what a plan of this backend says about its shares.
type Plan struct {
	// Storage is how many bytes a share's files may take on the disk; 0: without limit.
	Storage services.Size `json:"storage"`
	// Files is how many files and folders a share may hold; 0: without limit.
	Files int `json:"files"`
	// Connections is how many clients may use a share at a time; 0: without limit.
	Connections int `json:"connections"`
	// Bindings is how many bindings an instance may have.
	Bindings int `json:"bindings"`
	// DeleteContents allows deleting a share that is not empty.
	DeleteContents bool `json:"delete_contents"`
}

// limits are those of a share's contents.
func (p Plan) limits() usage.Limits { return usage.Limits{Storage: p.Storage, Items: p.Files} }

// SetDefaults implements services.Defaulter.
func (p *Plan) SetDefaults() { p.Bindings = 40 }

// Validate implements services.Validator.
func (p *Plan) Validate() error {
	var f check.Faults
	f.Size("storage", p.Storage, services.Megabyte)
	check.Optional(&f, "files", p.Files, 1_000_000_000)
	check.Optional(&f, "connections", p.Connections, 100_000)
	check.Range(&f, "bindings", p.Bindings, 1, 1000)
	return f.Err()
}

// InstanceParams are the user's parameters of an instance: a share has none.
type InstanceParams struct{}

// BindingParams are the user's parameters of a binding, named as in Cloud Foundry.
type BindingParams struct {
	// Mount is the directory in the application's container; default: in defaultMounts.
	Mount string `json:"mount"`
	// ReadOnly bindings read and list, and change nothing.
	ReadOnly bool `json:"readonly"`
}

const (
	// defaultMounts is where Cloud Foundry's volume services mount by default.
	defaultMounts = "/var/vcap/data/"
	maxMount      = 255
)

// mountRule excludes commas, colons and blanks, at which the platforms' mount commands split.
var mountRule = regexp.MustCompile(`^(/[A-Za-z0-9._@+-]+)+$`)

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Mount == "" {
		return nil
	}
	parts := strings.Split(p.Mount, "/")
	hidden := hides(p.Mount)
	switch {
	case len(p.Mount) > maxMount:
		return fmt.Errorf("mount: must have %d characters at most", maxMount)
	case !mountRule.MatchString(p.Mount):
		return errors.New("mount: must be an absolute path of letters, digits and . _ @ + - between single slashes, such as /data")
	case slices.Contains(parts, ".") || slices.Contains(parts, ".."):
		return errors.New("mount: must name the directory itself, without . and .. in its path")
	case hidden != "":
		return fmt.Errorf("mount: the share would hide %s in the application's container; choose another directory, such as /data", hidden)
	}
	return nil
}

type (
	instance = services.Instance[Plan, InstanceParams]
	binding  = services.Binding[BindingParams]
)

// systemTrees are directories of containers in which Cloud Foundry, Kubernetes, buildpacks and
// the system, but not applications, keep files.
var systemTrees = []string{
	"/bin", "/boot", "/dev", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/run", "/sbin", "/sys",
	"/usr/bin", "/usr/lib", "/usr/lib32", "/usr/lib64", "/usr/libexec", "/usr/libx32", "/usr/sbin", "/var/run",
	"/etc/cf-assets", "/etc/cf-instance-credentials", "/etc/cf-system-certificates", "/etc/ssl",
	"/cnb", "/layers", "/platform", "/tmp/lifecycle",
	"/home/vcap/deps", "/home/vcap/profile.d", "/home/vcap/staging_info.yml",
	"/var/vcap",
}

// neededDirectories hold what a container needs. Applications may use others below them.
var neededDirectories = []string{
	"/app", "/etc", "/home/vcap/app", "/opt", "/root", "/tmp", "/usr/local", "/usr/share", "/var/lib", "/workspace",
}

// hides returns the directory that forbids mounting a share at a path; "" if there is none.
func hides(path string) string {
	if strings.HasPrefix(path, defaultMounts) {
		return ""
	}
	for _, dir := range systemTrees {
		if within(path, dir) || within(dir, path) {
			return dir
		}
	}
	i := slices.IndexFunc(neededDirectories, func(dir string) bool { return within(dir, path) })
	if i < 0 {
		return ""
	}
	return neededDirectories[i]
}

// within says whether inner is outer or below it.
func within(inner, outer string) bool { return strings.HasPrefix(inner+"/", outer+"/") }
