package smb

import (
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/filesystem/btrfs"
	"github.com/chandler-broker/chandler/services/naming"
	"github.com/chandler-broker/chandler/services/usage"
)

// Config is the backend's own configuration: one Samba server, on this machine.
type Config struct {
	// Address is host:port of the server, as this machine reaches it.
	Address string `json:"address"`
	// PublicAddress is host:port where applications connect; default: Address.
	PublicAddress string `json:"public_address"`
	// Folder is the directory that holds the shares' folders.
	Folder string `json:"folder"`
	// Accounts is the directory of the files passwd and group that the machine's name
	// service reads beside /etc/passwd and /etc/group.
	Accounts string `json:"accounts"`
	// ConfigFile is the server's smb.conf.
	ConfigFile string `json:"config_file"`
	// Programs is the directory of Samba's programs; empty: the system's.
	Programs string `json:"programs"`
	// FirstID and LastID bound the user and group numbers, which only this backend uses.
	FirstID int64 `json:"first_id"`
	LastID  int64 `json:"last_id"`
	// Prefix begins the name of everything made on the server.
	Prefix string `json:"prefix"`
}

const (
	minID = 1000
	maxID = 1<<32 - 3 // the two above mean "none" to the kernel
)

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Address = "127.0.0.1:445"
	c.Accounts = "/var/lib/extrausers"
	c.ConfigFile = "/etc/samba/smb.conf"
	// systemd ("Users, Groups, UIDs and GIDs on systemd Systems") leaves this range free.
	c.FirstID, c.LastID = 1_900_000_000, 2_099_999_999
	c.Prefix = "c"
}

var (
	// pathRule excludes what smb.conf expands, such as %u, and commas, colons and blanks, at
	// which the platforms' mount commands split.
	pathRule = regexp.MustCompile(`^(/[A-Za-z0-9._@+-]+)+$`)
	hostRule = regexp.MustCompile(`^[A-Za-z0-9.:_-]+$`)
)

// Validate implements services.Validator.
func (c *Config) Validate() error {
	var f check.Faults
	f.If(!isAddress(c.Address), `address: must be host:port, such as "127.0.0.1:445"`)
	f.If(c.PublicAddress != "" && !isAddress(c.PublicAddress), `public_address: must be host:port, such as "files.example.com:445"`)
	f.If(c.Folder == "", "folder: is missing: name the directory that holds the shares")
	for _, p := range []struct {
		key, path string
		optional  bool
	}{{"folder", c.Folder, true}, {"accounts", c.Accounts, false}, {"config_file", c.ConfigFile, false}, {"programs", c.Programs, true}} {
		f.If((p.path != "" || !p.optional) && (!pathRule.MatchString(p.path) || filepath.Clean(p.path) != p.path),
			"%s: must be an absolute path of letters, digits and . _ @ + - between single slashes", p.key)
	}
	f.If(c.FirstID < minID || c.LastID > maxID || c.FirstID > c.LastID,
		"first_id, last_id: must be a range of user numbers between %d and %d", minID, int64(maxID))
	f.Add(naming.CheckPrefix(c.Prefix, naming.MaxPrefix))
	return f.Err()
}

func isAddress(text string) bool {
	host, port, err := net.SplitHostPort(text)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && portErr == nil && n > 0 && hostRule.MatchString(host)
}

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
	// Snapshots is how many snapshots an instance may have. They need btrfs.
	Snapshots int `json:"snapshots"`
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
	check.Optional(&f, "snapshots", p.Snapshots, btrfs.MaxSnapshots)
	return f.Err()
}

// InstanceParams are the user's parameters of an update; a share keeps none.
type InstanceParams = btrfs.Params

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

// Validate implements services.Validator.
func (p *BindingParams) Validate() error {
	if p.Mount == "" {
		return nil
	}
	hidden := hides(p.Mount)
	switch {
	case len(p.Mount) > maxMount:
		return fmt.Errorf("mount: must have %d characters at most", maxMount)
	case !pathRule.MatchString(p.Mount):
		return errors.New("mount: must be an absolute path of letters, digits and . _ @ + - between single slashes, such as /data")
	case filepath.Clean(p.Mount) != p.Mount:
		return errors.New("mount: must name the directory itself, without . and .. in its path")
	case hidden != "":
		return fmt.Errorf("mount: the share would hide %s in the application's container; choose another directory, such as /data", hidden)
	}
	return nil
}

type instance = services.Instance[Plan, InstanceParams]

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
	for _, dir := range neededDirectories {
		if within(dir, path) {
			return dir
		}
	}
	return ""
}

// within says whether inner is outer or below it.
func within(inner, outer string) bool { return strings.HasPrefix(inner+"/", outer+"/") }
