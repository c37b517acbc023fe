package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
)

const (
	sambaShares     = "shares"
	sambaAccounts   = "accounts"
	sambaPrograms   = "programs"
	sambaConfigFile = "smb.conf"
)

// sambaFolders are the server's own folders, with the settings that name them.
var sambaFolders = []struct{ setting, name string }{
	{"private dir", "private"}, {"state directory", "state"}, {"cache directory", "cache"},
	{"lock directory", "locks"}, {"pid directory", "pid"}, {"ncalrpc dir", "ncalrpc"},
}

// sambaTools are the programs that administer a server.
var sambaTools = []string{"net", "pdbedit", "smbcontrol", "smbpasswd", "smbstatus", "testparm"}

// sambaPath matches paths without characters that mean something to smb.conf or a shell.
var sambaPath = regexp.MustCompile(`^[A-Za-z0-9/._@+-]+$`)

func (s *Samba) fill(context.Context) error {
	if err := s.find(); err != nil {
		return err
	}
	if err := s.checkFolder(); err != nil {
		return err
	}
	return errors.Join(s.makeFolders(), s.makeAccounts(), s.makePrograms(), s.folder.writeFile(sambaConfigFile, []byte(s.config())))
}

// find looks for the server and for nss_wrapper.
func (s *Samba) find() error {
	if s.server = findProgram("smbd"); s.server == "" {
		return fmt.Errorf("no Samba server found: %w", ErrNoSamba)
	}
	for _, tool := range sambaTools {
		if findProgram(tool) == "" {
			return fmt.Errorf("no program %s found: %w", tool, ErrNoSamba)
		}
	}
	s.wrapper = findFile("/usr/lib/*/libnss_wrapper.so", "/usr/lib64/libnss_wrapper.so", "/usr/local/lib/libnss_wrapper.so")
	if s.wrapper == "" {
		return fmt.Errorf("no nss_wrapper found: %w", ErrNoSamba)
	}
	return nil
}

// checkFolder returns an error if Samba cannot work in the folder.
func (s *Samba) checkFolder() error {
	nobody := &syscall.Credential{Uid: 65534, Gid: 65534}
	for _, path := range []string{s.folder.root, s.SharesFolder()} {
		if !sambaPath.MatchString(path) {
			return fmt.Errorf("Samba's configuration cannot contain the path %s: name a folder that consists of letters, digits and . _ @ + -", path)
		}
		if !reaches(nobody, filepath.Dir(path)) && path != s.folder.path(sambaShares) {
			return fmt.Errorf("the users of shares cannot pass the directories above %s: name a folder that everybody can reach: %w", path, ErrNoSamba)
		}
	}
	return nil
}

func (s *Samba) makeFolders() error {
	names := []string{sambaShares, sambaAccounts, sambaPrograms}
	for _, f := range sambaFolders {
		names = append(names, f.name)
	}
	for _, name := range names {
		if err := s.folder.makeDir(name); err != nil {
			return err
		}
	}
	// Sessions pass these as their users, and look up accounts.
	return errors.Join(
		s.folder.setOwner(s.folder.path(sambaAccounts), 0o755),
		s.folder.setOwner(s.folder.path(sambaShares), 0o711),
		os.Chown(s.folder.root, 0, 0),
		s.folder.setOwner(s.folder.root, 0o711),
	)
}

// makeAccounts makes the accounts that the server itself needs.
func (s *Samba) makeAccounts() error {
	for _, f := range []struct{ name, text string }{
		{"passwd", "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"},
		{"group", "root:*:0:\nnogroup:*:65534:\n"},
	} {
		path := filepath.Join(sambaAccounts, f.name)
		if _, err := os.Stat(s.folder.path(path)); err == nil {
			continue
		}
		if err := s.folder.writeFile(path, []byte(f.text)); err != nil {
			return err
		}
		if err := s.folder.setOwner(s.folder.path(path), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// environment lets Samba's programs find the server's own accounts.
func (s *Samba) environment() []string {
	env := []string{
		"LD_PRELOAD=" + s.wrapper,
		"NSS_WRAPPER_PASSWD=" + filepath.Join(s.AccountsFolder(), "passwd"),
		"NSS_WRAPPER_GROUP=" + filepath.Join(s.AccountsFolder(), "group"),
	}
	if s.options.NoSync {
		env = append(env, "TDB_NO_FSYNC=1")
	}
	return env
}

// makePrograms writes scripts that run the administration's programs in that environment.
func (s *Samba) makePrograms() error {
	for _, tool := range sambaTools {
		script := "#!/bin/sh\nexport " + strings.Join(s.environment(), " ") + "\nexec " + findProgram(tool) + " \"$@\"\n"
		name := filepath.Join(sambaPrograms, tool)
		if err := s.folder.writeFile(name, []byte(script)); err != nil {
			return err
		}
		if err := s.folder.setOwner(s.folder.path(name), 0o700); err != nil {
			return err
		}
	}
	return nil
}

// config is the server's smb.conf.
func (s *Samba) config() string {
	lines := []string{
		"[global]",
		"server role = standalone server",
		"netbios name = CHANDLER", // the machine's own may be too long
		"workgroup = CHANDLER",
		"interfaces = " + loopback + "/8",
		"bind interfaces only = yes",
		fmt.Sprintf("smb ports = %d", s.port),
		"disable netbios = yes",
		"server min protocol = SMB3_00",
		"server smb encrypt = required",
		"registry shares = yes",
		"map to guest = never",
		"restrict anonymous = 2",
		"usershare max shares = 0",
		"load printers = no",
		"printcap name = /dev/null",
		"printing = bsd",
		"disable spoolss = yes",
	}
	for _, f := range sambaFolders {
		lines = append(lines, f.setting+" = "+s.folder.path(f.name))
	}
	lines = append(lines,
		// No session needs it, and every session could list shares and users through it.
		"[IPC$]", "hosts deny = ALL", "path = "+s.folder.path("ncalrpc"))
	return strings.Join(lines, "\n") + "\n"
}
