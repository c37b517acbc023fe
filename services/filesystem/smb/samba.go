package smb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// samba runs Samba's own programs. Secrets go to their standard input, because others can read
// arguments and environments.
type samba struct {
	programs string // directory; empty: the system's
	config   string
}

// failure is the error of a program.
type failure struct {
	doing, program, output string
	err                    error
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s: %s: %v: %s", f.doing, f.program, f.err, f.output)
}

func (f *failure) Unwrap() error { return f.err }

// says tells whether err is of a program that printed a text.
func says(err error, text string) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && strings.Contains(f.output, text)
}

const (
	// programPath is where the system's programs are, also those for root.
	programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// maxOutput is how much of a program's output goes into an error.
	maxOutput = 400
	// lingering is how long a program that was killed is waited for.
	lingering = time.Second
)

// run runs a program to its end, and returns what it printed. doing is for errors.
func (s samba) run(ctx context.Context, doing, input, program string, args ...string) (string, error) {
	path, err := s.find(program)
	if err != nil {
		return "", fmt.Errorf("%s: %w", doing, err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.WaitDelay = "/", lingering
	cmd.Env = []string{"PATH=" + programPath, "LC_ALL=C"} // the broker's own holds secrets
	cmd.Stdin = strings.NewReader(input)
	var printed, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &complaints
	if err = cmd.Run(); err == nil {
		return printed.String(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	output := strings.Join(strings.Fields(complaints.String()+" "+printed.String()), " ")
	for line := range strings.Lines(input) { // which may be a password
		output = strings.ReplaceAll(output, strings.TrimSpace(line), "…")
	}
	return "", &failure{doing, program, output[:min(len(output), maxOutput)], err}
}

func (s samba) find(program string) (string, error) {
	dirs := filepath.SplitList(programPath)
	if s.programs != "" {
		dirs = []string{s.programs}
	}
	for _, dir := range dirs {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("samba's program %s is not in %s: install Samba on this machine (Debian: apt-get install samba), or set programs", program, strings.Join(dirs, ", "))
}

// shares returns all shares that are in Samba's registry.
func (s samba) shares(ctx context.Context) (map[string]section, error) {
	printed, err := s.run(ctx, "list the shares", "", "net", "conf", "-s", s.config, "list")
	return parseSections(printed), err
}

// putShare creates a share, or replaces the one of that name.
func (s samba) putShare(ctx context.Context, name string, share section) error {
	printed, err := s.run(ctx, "write a share", share.text(name), "net", "conf", "-s", s.config, "import", "/dev/stdin", name)
	if err == nil && printed != "" {
		err = errors.New("write a share: net conf import prints something, and does not where it imports")
	}
	return err
}

// dropShare removes a share. An absent one is not an error.
func (s samba) dropShare(ctx context.Context, name string) error {
	_, err := s.run(ctx, "remove a share", "", "net", "conf", "-s", s.config, "delshare", name)
	if says(err, "SBC_ERR_NO_SUCH_SERVICE") {
		return nil
	}
	return err
}

// putUser makes a user, or changes an existing one's password.
func (s samba) putUser(ctx context.Context, name string, password services.Secret) error {
	input := password.Reveal() + "\n" + password.Reveal() + "\n"
	_, err := s.run(ctx, "make a user", input, "smbpasswd", "-c", s.config, "-s", "-a", name)
	if says(err, "Failed to add entry") {
		return fmt.Errorf("samba does not find the account of a new user: let the machine's name service read the accounts (passwd and group in /etc/nsswitch.conf): %w", err)
	}
	return err
}

// dropUser removes a user. An absent one is not an error.
func (s samba) dropUser(ctx context.Context, name string) error {
	_, err := s.run(ctx, "remove a user", "", "pdbedit", "-s", s.config, "-x", "-u", name)
	if says(err, "does not exist in the passdb") {
		return nil
	}
	return err
}

// reload makes the server and all its sessions read their shares again.
func (s samba) reload(ctx context.Context) error { return s.control(ctx, "reload-config") }

// control sends the server a message (smbcontrol(1)): close-denied-share reloads and ends the
// use of a share by those who are no longer allowed to, close-share ends all use.
func (s samba) control(ctx context.Context, args ...string) error {
	_, err := s.run(ctx, "tell the server of a change", "", "smbcontrol", append([]string{"-s", s.config, "smbd"}, args...)...)
	return err
}

// statusTime is the form of smbstatus's times.
const statusTime = "2006-01-02T15:04:05.999999-07:00"

// use is one client's use of a share.
type use struct {
	share string
	uid   int64
	since time.Time
}

// uses returns who uses which share now.
func (s samba) uses(ctx context.Context) ([]use, error) {
	printed, err := s.run(ctx, "list the server's sessions", "", "smbstatus", "-s", s.config, "--json")
	if err != nil {
		return nil, err
	}
	var status struct {
		Sessions map[string]struct {
			UID int64 `json:"uid"`
		} `json:"sessions"`
		Uses map[string]struct {
			Share   string `json:"service"`
			Session string `json:"session_id"`
			Since   string `json:"connected_at"`
		} `json:"tcons"`
	}
	if err := json.Unmarshal([]byte(printed), &status); err != nil {
		return nil, fmt.Errorf("list the server's sessions: smbstatus prints no JSON (it does from Samba 4.17 on): %w", err)
	}
	var found []use
	for _, u := range status.Uses {
		since, err := time.Parse(statusTime, u.Since)
		if err != nil {
			return nil, fmt.Errorf("list the server's sessions: smbstatus prints a time in another form: %w", err)
		}
		found = append(found, use{share: u.Share, uid: status.Sessions[u.Session].UID, since: since})
	}
	return found, nil
}

// inUse says whether anybody uses a share now.
func (s samba) inUse(ctx context.Context, share string) (bool, error) {
	uses, err := s.uses(ctx)
	return slices.ContainsFunc(uses, func(u use) bool { return u.share == share }), err
}
