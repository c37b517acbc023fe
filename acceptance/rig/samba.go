package rig

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/embedded"
)

func startSamba(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	server, err := embedded.StartSamba(ctx, embedded.SambaOptions{Dir: d.path("samba"), NoSync: !d.Durable})
	if err != nil {
		return nil, err
	}
	s.process = server
	own, err := sambaNames(ctx, server)
	if err != nil {
		return nil, err
	}
	s.holds = func(ctx context.Context) ([]string, error) {
		names, err := sambaNames(ctx, server)
		return slices.DeleteFunc(names, func(name string) bool { return slices.Contains(own, name) }), err
	}
	host, port, err := net.SplitHostPort(server.Address())
	if err != nil {
		return nil, err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxy(host, number)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"SMB_ADDRESS": proxy.Addr(), "SMB_FOLDER": server.SharesFolder(), "SMB_ACCOUNTS": server.AccountsFolder(),
		"SMB_CONFIG_FILE": server.ConfigFile(), "SMB_PROGRAMS": server.ProgramsFolder(),
	}, nil
}

// sambaNames are the shares, the users, and the folders and accounts behind them.
func sambaNames(ctx context.Context, server *embedded.Samba) ([]string, error) {
	var names []string
	for what, command := range map[string][]string{
		"share": {"net", "conf", "-s", server.ConfigFile(), "listshares"}, "user": {"pdbedit", "-s", server.ConfigFile(), "-L"},
	} {
		answer, err := exec.CommandContext(ctx, filepath.Join(server.ProgramsFolder(), command[0]), command[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", command[0], err)
		}
		for line := range strings.Lines(string(answer)) {
			name, _, _ := strings.Cut(strings.TrimSpace(line), ":")
			names = append(names, what+" "+name)
		}
	}
	for _, file := range []string{"passwd", "group"} {
		text, err := os.ReadFile(filepath.Join(server.AccountsFolder(), file))
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(text)) {
			name, _, _ := strings.Cut(line, ":")
			names = append(names, file+" "+name)
		}
	}
	folders, err := sambaFolders(server.SharesFolder())
	return append(names, folders...), err
}

// sambaTrash is where the backend moves folders that are being deleted; it stays.
const sambaTrash = ".deleted-c"

func sambaFolders(shares string) ([]string, error) {
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
