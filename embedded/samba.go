package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

const sambaLog = "samba.log"

// ErrNoSamba says that this machine cannot run a private Samba server, and what it needs.
var ErrNoSamba = errors.New("a private Samba server needs root, and Samba with nss_wrapper (Debian: apt-get install --no-install-recommends samba smbclient libnss-wrapper)")

// SambaOptions are those of a Samba server. Every user must be able to pass the directories
// above Dir, because the server uses files as their owners.
type SambaOptions struct {
	Options
	// Shares is the folder of the shares' folders if that is not to be in Dir. It must
	// exist, and belong to root.
	Shares string
}

// Samba is a running Samba file server that speaks only SMB 3 with encryption. It has its
// own registry of shares, database of users, and files of accounts behind these users,
// which the system's name service never sees. It is safe for concurrent use.
type Samba struct {
	child
	options SambaOptions
	server  string // its program
	wrapper string // the library nss_wrapper
}

// StartSamba runs a Samba server until Stop, or until this process ends. Errors say what to
// install, or which port to free.
func StartSamba(ctx context.Context, o SambaOptions) (*Samba, error) {
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("a file server acts as the owners of its files: %w", ErrNoSamba)
	}
	s := &Samba{options: o}
	s.title, s.signals = "Samba server", []syscall.Signal{syscall.SIGTERM}
	s.asRoot = true // the only server that needs root: each session acts as a user of its own
	return startServer(ctx, o.Dir, s)
}

// SharesFolder contains a folder for each share.
func (s *Samba) SharesFolder() string {
	if s.options.Shares != "" {
		return s.options.Shares
	}
	return s.folder.path(sambaShares)
}

// AccountsFolder contains the server's files passwd and group.
func (s *Samba) AccountsFolder() string { return s.folder.path(sambaAccounts) }

// ConfigFile is the server's smb.conf.
func (s *Samba) ConfigFile() string { return s.folder.path(sambaConfigFile) }

// ProgramsFolder contains Samba's programs for administering this server.
func (s *Samba) ProgramsFolder() string { return s.folder.path(sambaPrograms) }

// program needs no orderly end when this process dies: its databases recover.
func (s *Samba) program() program {
	return program{
		path: s.server, args: []string{"--foreground", "--no-process-group", "--debug-stdout", "--configfile=" + s.ConfigFile()},
		env: s.environment(), log: sambaLog,
	}
}

func (s *Samba) ready(ctx context.Context, _ int) bool { return listens(ctx, s.Address()) }
