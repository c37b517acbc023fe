package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"
)

const sambaLog = "samba.log"

// ErrNoSamba is returned, wrapped, where this machine cannot run a private Samba
// server. Its text says what it takes.
var ErrNoSamba = errors.New("a Samba server of one's own takes root, and Samba with nss_wrapper (Debian: apt-get install --no-install-recommends samba smbclient libnss-wrapper)")

// SambaOptions says how a Samba server is to be run.
type SambaOptions struct {
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone. Everybody must be able to pass the
	// directories above it: the server uses files as their owners.
	Dir string
	// Shares is the folder that holds the shares' folders, where it is not to
	// be in Dir. It must exist, and belong to root.
	Shares string
	// Port is where the server listens on loopback. 0: the port of the last
	// start on this folder, a free one at the first.
	Port int
	// NoSync gives up what a power failure would destroy, for speed: for
	// tests. A kill -9 still loses nothing.
	NoSync bool
	// Logger may be nil.
	Logger *slog.Logger
}

// Samba is a running Samba file server that speaks SMB 3 with encryption and
// nothing else, with shares in its registry and users in a database of its own.
// The accounts behind its users are in files of its own as well, which the
// system's name service never sees. All its methods are safe for concurrent use.
type Samba struct {
	*child
	options SambaOptions
	server  string // its program
	wrapper string // the library nss_wrapper
	port    int
}

// StartSamba runs a Samba server on the folder o.Dir until Stop, or until this
// process ends. The folder is filled at the first start; later starts go on with
// its data and its port, also after a kill -9 of whoever used it before.
//
// Errors say what to install or to free.
func StartSamba(ctx context.Context, o SambaOptions) (*Samba, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("a file server acts as the owners of its files: %w", ErrNoSamba)
	}
	c, err := newChild("Samba server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	// The one server that needs root: each session acts as a user of its own.
	c.folder.owner, c.folder.hidden = nil, false
	s := &Samba{child: c, options: o}
	own := childParts{program: s.program, ready: s.ready, serving: s.tell, farewell: []syscall.Signal{syscall.SIGTERM}}
	if err := s.open(ctx, own, s.fill); err != nil {
		return nil, err
	}
	return s, nil
}

// Address is host:port where the server speaks SMB: on loopback.
func (s *Samba) Address() string { return localAddress(s.port) }

// SharesFolder is where the shares' folders are, one each.
func (s *Samba) SharesFolder() string {
	if s.options.Shares != "" {
		return s.options.Shares
	}
	return s.folder.path(sambaShares)
}

// AccountsFolder holds the files passwd and group that the server sees.
func (s *Samba) AccountsFolder() string { return s.folder.path(sambaAccounts) }

// ConfigFile is the server's smb.conf.
func (s *Samba) ConfigFile() string { return s.folder.path(sambaConfigFile) }

// ProgramsFolder holds Samba's programs for administering this server.
func (s *Samba) ProgramsFolder() string { return s.folder.path(sambaPrograms) }

func (s *Samba) program() program {
	return program{
		path: s.server, args: []string{"--foreground", "--no-process-group", "--debug-stdout", "--configfile=" + s.ConfigFile()},
		env: s.environment(), folder: s.folder, log: sambaLog,
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL, // its databases recover
	}
}

func (s *Samba) ready(ctx context.Context, _ int) bool { return listens(ctx, s.Address()) }

func (s *Samba) tell(ctx context.Context) error {
	s.logger.InfoContext(ctx, "smb server started", "folder", s.folder.root, "port", s.port)
	return nil
}
