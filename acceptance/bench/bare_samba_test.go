package bench_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chandler-broker/chandler/acceptance/rig"
)

// bareSamba runs the programs that each verb takes at least, one after the other: what
// writes or removes the share and the user, and what tells the server.
func bareSamba(b *testing.B, d *rig.Deployment) map[string]func(context.Context, string) error {
	b.Helper()
	config := d.Value("SMB_CONFIG_FILE")
	run := func(ctx context.Context, input, program string, args ...string) error {
		cmd := exec.CommandContext(ctx, filepath.Join(d.Value("SMB_PROGRAMS"), program), args...)
		cmd.Stdin = strings.NewReader(input)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", program, err, out)
		}
		return nil
	}
	all := func(steps ...func(ctx context.Context, name string) error) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			for _, step := range steps {
				if err := step(ctx, name); err != nil {
					return err
				}
			}
			return nil
		}
	}
	share := func(ctx context.Context, name string) error {
		text := fmt.Sprintf("[bare-%s]\npath = /nowhere\nvalid users = root\n", name)
		return run(ctx, text, "net", "conf", "-s", config, "import", "/dev/stdin", "bare-"+name)
	}
	control := func(message ...string) func(context.Context, string) error {
		return func(ctx context.Context, name string) error {
			args := append([]string{"-s", config, "smbd"}, message...)
			if message[0] != "reload-config" {
				args = append(args, "bare-"+name)
			}
			return run(ctx, "", "smbcontrol", args...)
		}
	}
	user := func(ctx context.Context, name string) error {
		return run(ctx, "a bare password\na bare password\n", "smbpasswd", "-c", config, "-s", "-a", "root")
	}
	return map[string]func(context.Context, string) error{
		"provision": share,
		"bind":      all(user, share, control("reload-config")),
		"unbind": all(func(ctx context.Context, _ string) error {
			return run(ctx, "", "pdbedit", "-s", config, "-x", "-u", "root")
		},
			share, control("close-denied-share")),
		"deprovision": all(func(ctx context.Context, name string) error {
			return run(ctx, "", "net", "conf", "-s", config, "delshare", "bare-"+name)
		}, control("close-share")),
	}
}
