package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
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

// Access implements Running. There are no secrets: root administers the server.
func (s *Samba) Access(connect func(string) string) (variables, secrets map[string]string) {
	return map[string]string{
		"SMB_ADDRESS": connect(s.Address()), "SMB_FOLDER": s.SharesFolder(), "SMB_ACCOUNTS": s.AccountsFolder(),
		"SMB_CONFIG_FILE": s.ConfigFile(), "SMB_PROGRAMS": s.ProgramsFolder(),
	}, nil
}

// Holds implements Running. It lists the shares and users, and the folders and accounts
// behind them.
func (s *Samba) Holds(ctx context.Context) ([]string, error) {
	var names []string
	for what, command := range map[string][]string{
		"share": {"net", "conf", "-s", s.ConfigFile(), "listshares"}, "user": {"pdbedit", "-s", s.ConfigFile(), "-L"},
	} {
		out, err := exec.CommandContext(ctx, filepath.Join(s.ProgramsFolder(), command[0]), command[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command[0], err)
		}
		for line := range strings.Lines(string(out)) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			names = append(names, what+" "+name)
		}
	}
	for _, file := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join(s.AccountsFolder(), file))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, file+" "+name)
		}
	}
	names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(sambaOwn, name) })
	folders, err := foldersBelow(s.SharesFolder())
	return append(names, folders...), err
}

// sambaOwn are the accounts that makeAccounts writes.
var sambaOwn = []string{"passwd root", "passwd nobody", "group root", "group nogroup"}

// sambaTrash is the folder into which the backend moves folders to delete.
const sambaTrash = ".deleted-c"

func foldersBelow(shares string) ([]string, error) {
	var names []string
	for _, dir := range []string{shares, filepath.Join(shares, sambaTrash)} {
		folders, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, f := range folders {
			if f.Name() != sambaTrash {
				names = append(names, "folder "+f.Name())
			}
		}
	}
	return names, nil
}
