package smb

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// samba are Samba's own programs, run beside the server they administer. They
// take secrets from their standard input: arguments and environment are there
// for others to read.
type samba struct {
	programs string // directory; empty: the system's
	config   string
}

// failure is what a program says that failed.
type failure struct {
	program string
	said    string
	err     error
}

func (f *failure) Error() string {
	return fmt.Sprintf("%s: %v: %s", f.program, f.err, f.said)
}

func (f *failure) Unwrap() error { return f.err }

// saying says whether err is of a program that said this.
func saying(err error, text string) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && strings.Contains(f.said, text)
}

const (
	// programPath is where the system's programs are, also those for root.
	programPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// maxSaid is how much of what a program says goes into an error.
	maxSaid = 400
	// lingering is how long a program that was killed is waited for.
	lingering = time.Second
)

// run runs a program to its end, and returns what it printed.
func (s samba) run(ctx context.Context, program, input string, args ...string) (string, error) {
	path, err := s.find(program)
	if err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.WaitDelay = "/", lingering
	cmd.Env = []string{"PATH=" + programPath, "LC_ALL=C"} // the broker's own holds secrets
	cmd.Stdin = strings.NewReader(input)
	var printed, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &printed, &said
	if err = cmd.Run(); err == nil {
		return printed.String(), nil
	}
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	words := strings.Join(strings.Fields(said.String()+" "+printed.String()), " ")
	for line := range strings.Lines(input) { // which may be a password
		words = strings.ReplaceAll(words, strings.TrimSpace(line), "…")
	}
	return "", &failure{program: program, said: words[:min(len(words), maxSaid)], err: err}
}

func (s samba) find(program string) (string, error) {
	dirs := filepath.SplitList(programPath)
	if s.programs != "" {
		dirs = []string{s.programs}
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, program)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("samba's program %s is not in %s: install Samba on this machine (Debian: apt-get install samba), or set programs", program, strings.Join(dirs, ", "))
}

// share returns the share of a name; nil where there is none.
func (s samba) share(ctx context.Context, name string) (section, error) {
	printed, err := s.run(ctx, "net", "", "conf", "-s", s.config, "showshare", name)
	if saying(err, "SBC_ERR_NO_SUCH_SERVICE") {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read a share: %w", err)
	}
	found := parseSections(printed)[name]
	if found == nil {
		return nil, errors.New("read a share: net conf showshare prints no share")
	}
	return found, nil
}

// shares returns all shares that are in Samba's registry.
func (s samba) shares(ctx context.Context) (map[string]section, error) {
	printed, err := s.run(ctx, "net", "", "conf", "-s", s.config, "list")
	if err != nil {
		return nil, fmt.Errorf("list the shares: %w", err)
	}
	return parseSections(printed), nil
}

// putShare creates a share, or replaces the one of that name.
func (s samba) putShare(ctx context.Context, name string, share section) error {
	printed, err := s.run(ctx, "net", share.text(name), "conf", "-s", s.config, "import", "/dev/stdin", name)
	if err == nil && printed != "" {
		err = errors.New("net conf import prints something, and does not where it imports")
	}
	if err != nil {
		return fmt.Errorf("write a share: %w", err)
	}
	return nil
}

// dropShare removes a share. What is absent is no error.
func (s samba) dropShare(ctx context.Context, name string) error {
	_, err := s.run(ctx, "net", "", "conf", "-s", s.config, "delshare", name)
	if err != nil && !saying(err, "SBC_ERR_NO_SUCH_SERVICE") {
		return fmt.Errorf("remove a share: %w", err)
	}
	return nil
}

// putUser makes a user, or gives the one that is there this password.
func (s samba) putUser(ctx context.Context, name string, password services.Secret) error {
	input := password.Reveal() + "\n" + password.Reveal() + "\n"
	_, err := s.run(ctx, "smbpasswd", input, "-c", s.config, "-s", "-a", name)
	if saying(err, "Failed to add entry") {
		return fmt.Errorf("samba does not find the account of a new user: let the machine's name service read the accounts (passwd and group in /etc/nsswitch.conf): %w", err)
	}
	if err != nil {
		return fmt.Errorf("make a user: %w", err)
	}
	return nil
}

// dropUser removes a user. What is absent is no error.
func (s samba) dropUser(ctx context.Context, name string) error {
	_, err := s.run(ctx, "pdbedit", "", "-s", s.config, "-x", "-u", name)
	if err != nil && !saying(err, "does not exist in the passdb") {
		return fmt.Errorf("remove a user: %w", err)
	}
	return nil
}

// reload makes the server and all its sessions look at their shares again.
func (s samba) reload(ctx context.Context) error { return s.control(ctx, "reload-config") }

// closeDenied makes all sessions look at their shares again, and ends the use of a
// share by those who may use it no more.
func (s samba) closeDenied(ctx context.Context, share string) error {
	return s.control(ctx, "close-denied-share", share)
}

// closeShare ends all use of a share; who may use it connects again.
func (s samba) closeShare(ctx context.Context, share string) error {
	return s.control(ctx, "close-share", share)
}

func (s samba) control(ctx context.Context, args ...string) error {
	_, err := s.run(ctx, "smbcontrol", "", append([]string{"-s", s.config, "smbd"}, args...)...)
	if err != nil {
		return fmt.Errorf("tell the server of a change: %w", err)
	}
	return nil
}

// use is one client's use of a share.
type use struct {
	share string
	uid   int64
}

// uses returns who uses which share now.
func (s samba) uses(ctx context.Context) ([]use, error) {
	printed, err := s.run(ctx, "smbstatus", "", "-s", s.config, "--json")
	if err != nil {
		return nil, fmt.Errorf("list the server's sessions: %w", err)
	}
	var status struct {
		Sessions map[string]struct {
			UID int64 `json:"uid"`
		} `json:"sessions"`
		Uses map[string]struct {
			Share   string `json:"service"`
			Session string `json:"session_id"`
		} `json:"tcons"`
	}
	if err := json.Unmarshal([]byte(printed), &status); err != nil {
		return nil, fmt.Errorf("list the server's sessions: smbstatus prints no JSON (it does from Samba 4.17 on): %w", err)
	}
	var found []use
	for _, u := range status.Uses {
		found = append(found, use{share: u.Share, uid: status.Sessions[u.Session].UID})
	}
	return found, nil
}
