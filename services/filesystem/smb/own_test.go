package smb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// chooses lets an application change its own password, as it can where IPC$ is
// open: it is opened for as long as that takes.
func (s *testServer) chooses(rpcclient string) func(context.Context, map[string]any) error {
	return func(ctx context.Context, credentials map[string]any) error {
		closed, err := os.ReadFile(s.ConfigFile())
		if err != nil {
			return err
		}
		opened, _, found := bytes.Cut(closed, []byte("[IPC$]"))
		if !found {
			return errors.New("IPC$ is not closed")
		}
		if err := s.reconfigured(ctx, opened); err != nil {
			return err
		}
		user, password := fmt.Sprint(credentials["username"]), fmt.Sprint(credentials["password"])
		cmd := exec.CommandContext(ctx, rpcclient, "127.0.0.1", "--configfile=/dev/null", fmt.Sprintf("--port=%v", credentials["port"]),
			"--user="+user, "--command=chgpasswd2 "+user+" "+password+" Chosen-by-the-app1")
		cmd.Env = []string{"PATH=/usr/bin:/bin", "PASSWD=" + password}
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
		return errors.Join(err, s.reconfigured(ctx, closed))
	}
}

// reconfigured gives the server another smb.conf, which the sessions that begin a
// moment later have.
func (s *testServer) reconfigured(ctx context.Context, config []byte) error {
	if err := os.WriteFile(s.ConfigFile(), config, 0o600); err != nil {
		return err
	}
	_, err := s.admin(ctx, "smbcontrol", "-s", s.ConfigFile(), "smbd", "reload-config")
	time.Sleep(300 * time.Millisecond)
	return err
}
