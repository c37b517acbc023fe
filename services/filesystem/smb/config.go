package smb

import (
	"net"
	"path/filepath"
	"regexp"
	"strconv"

	"github.com/chandler-broker/chandler/services/check"
	"github.com/chandler-broker/chandler/services/naming"
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
	// systemd ("Users, Groups, UIDs and GIDs on systemd Systems") leaves this range free.
	defaultFirstID = 1_900_000_000
	defaultLastID  = 2_099_999_999
	minID          = 1000
	maxID          = 1<<32 - 3 // the two above mean "none" to the kernel
)

// SetDefaults implements services.Defaulter.
func (c *Config) SetDefaults() {
	c.Address = "127.0.0.1:445"
	c.Accounts = "/var/lib/extrausers"
	c.ConfigFile = "/etc/samba/smb.conf"
	c.FirstID = defaultFirstID
	c.LastID = defaultLastID
	c.Prefix = "c"
}

var (
	// pathRule excludes what smb.conf expands, such as %u.
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
