package smb

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// reach tries to get from one tenant's share at another's.
func reach(t *testing.T, server *testServer, mine, theirs map[string]any) {
	t.Helper()
	me, their := dialled(t, mine), text(t, theirs, "share")
	t.Run("connect to their share", func(t *testing.T) { refusesLogin(t, mine, map[string]any{"share": their}) })
	t.Run("their user, my password", func(t *testing.T) {
		refusesLogin(t, theirs, map[string]any{"password": mine["password"]})
	})
	t.Run("their user, no password", func(t *testing.T) { refusesLogin(t, theirs, map[string]any{"password": ""}) })
	t.Run("their instance's account", func(t *testing.T) {
		refusesLogin(t, theirs, map[string]any{"username": their, "password": ""})
	})
	t.Run("nobody", func(t *testing.T) { refusesLogin(t, theirs, map[string]any{"username": "", "password": ""}) })
	t.Run("root", func(t *testing.T) { refusesLogin(t, theirs, map[string]any{"username": "root", "password": ""}) })
	climbs(t, me, their)
	links(t, server, me, their)
	administers(t, mine, their)
	flood(t, me, mine, theirs)
}

// refusesLogin fails t where credentials with these changes are let in.
func refusesLogin(t *testing.T, credentials, changes map[string]any) {
	t.Helper()
	changed := map[string]any{}
	for _, m := range []map[string]any{credentials, changes} {
		for key, value := range m {
			changed[key] = value
		}
	}
	s, err := dial(testContext(t), changed)
	if err == nil {
		_ = s.Close()
		t.Error("was let in")
	} else if !errors.Is(err, fs.ErrPermission) && !strings.Contains(err.Error(), "response error: ") {
		t.Errorf("was not refused but failed: %v", err)
	}
}

// climbs leaves the own share by paths, in ways that the client library lets
// through and in smbclient's.
func climbs(t *testing.T, me *session, their string) {
	for _, up := range []string{`..\` + their, `..\..\shares\` + their, `x\..\..\` + their, `\..\` + their, "../" + their} {
		name := up + `\secret`
		for what, try := range map[string]func() error{
			"read":   func() error { _, err := me.share.ReadFile(name); return err },
			"write":  func() error { return me.share.WriteFile(name, []byte("x"), 0o660) },
			"list":   func() error { _, err := me.share.ReadDir(up); return err },
			"delete": func() error { return me.share.Remove(name) },
			"rename": func() error { return me.share.Rename(name, "stolen") },
			"make":   func() error { return me.share.Mkdir(up+`\new`, 0o770) },
		} {
			t.Run(what+" "+up, func(t *testing.T) {
				if try() == nil {
					t.Error("was let through")
				}
			})
		}
	}
	t.Run("put something into theirs", func(t *testing.T) {
		me.mustWrite(t, "gift", "x")
		if me.share.Rename("gift", `..\`+their+`\gift`) == nil {
			t.Error("was let through")
		}
	})
}

// links makes a link to the other's folder, as a client and as a program on the
// machine could.
func links(t *testing.T, server *testServer, me *session, their string) {
	t.Run("a link over SMB", func(t *testing.T) {
		for i, target := range []string{`..\` + their + `\secret`, filepath.Join(server.SharesFolder(), their, "secret")} {
			name := fmt.Sprint("link", i)
			if me.share.Symlink(target, name) != nil {
				continue
			}
			if content, err := me.share.ReadFile(name); err == nil && string(content) == "theirs" {
				t.Errorf("a link to %s was followed", target)
			}
		}
	})
}

// administers uses Samba's own clients for what is the administrator's.
func administers(t *testing.T, mine map[string]any, their string) {
	for name, command := range map[string][]string{
		"list the shares":     {"smbclient", "--list=127.0.0.1"},
		"the files of IPC$":   {"smbclient", "//127.0.0.1/IPC$", "--command=ls"},
		"list the users":      {"rpcclient", "127.0.0.1", "--command=enumdomusers"},
		"the own password":    {"rpcclient", "127.0.0.1", "--command=chgpasswd2 " + text(t, mine, "username") + " x y"},
		"look at their share": {"rpcclient", "127.0.0.1", "--command=netsharegetinfo " + their},
		"make a share":        {"rpcclient", "127.0.0.1", "--command=netshareadd /etc mine 10 mine"},
		"list the sessions":   {"rpcclient", "127.0.0.1", "--command=netsessenum"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := client(t, mine, command[0], command[1:]...)
			if err == nil || strings.Contains(out, their) {
				t.Errorf("was let through: %s", out)
			}
			if !strings.Contains(out, "ACCESS_DENIED") {
				t.Errorf("was not refused but failed: %s", out)
			}
		})
	}
	t.Run("a dialect without encryption", func(t *testing.T) {
		out, err := client(t, mine, "smbclient", "//127.0.0.1/"+text(t, mine, "share"), "--max-protocol=SMB2_10", "--command=ls")
		if err == nil || !strings.Contains(out, "NOT_SUPPORTED") {
			t.Errorf("was let through: %s", out)
		}
	})
}

// client runs one of Samba's clients as an application.
func client(t testing.TB, credentials map[string]any, program string, args ...string) (string, error) {
	t.Helper()
	args = append(args, "--configfile=/dev/null", fmt.Sprintf("--port=%.0f", credentials["port"]), "--user="+text(t, credentials, "username"))
	cmd := exec.CommandContext(testContext(t), needed(t, program), args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "PASSWD=" + text(t, credentials, "password")}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// flood writes and connects much at once. That the other tenant's session goes
// on is looked at by whoever called reach.
func flood(t *testing.T, me *session, mine, theirs map[string]any) {
	t.Run("flood", func(t *testing.T) {
		var wait sync.WaitGroup
		for i := range 20 {
			wait.Go(func() {
				if err := me.Write(testContext(t), fmt.Sprint("flood", i), strings.Repeat("x", 1<<20)); err != nil {
					t.Error(err)
				}
			})
			wait.Go(func() {
				if s, err := dial(testContext(t), map[string]any{
					"host": theirs["host"], "port": theirs["port"], "share": theirs["share"],
					"username": mine["username"], "password": mine["password"],
				}); err == nil {
					_ = s.Close()
					t.Error("one of many was let in")
				}
			})
		}
		wait.Wait()
	})
}
