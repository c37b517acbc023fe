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
)

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
