package manila

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// client is what mounts a share, as on an application's machine.
const client = "ceph-fuse"

// dial implements services.Dialer: it mounts the share with ceph-fuse, which needs root and
// /dev/fuse. Keys are files of the share.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	text := func(key string) string { s, _ := credentials[key].(string); return s }
	list, _ := credentials["monitors"].([]any)
	var monitors []string
	for _, m := range list {
		if s, ok := m.(string); ok {
			monitors = append(monitors, versioned(s))
		}
	}
	if len(monitors) == 0 || text("path") == "" || text("id") == "" || text("keyring") == "" {
		return nil, errors.New("the credentials name no monitors, path, id and keyring")
	}
	s, err := mount(ctx, text("keyring"), "-m", strings.Join(monitors, ","), "-n", "client."+text("id"), "-r", text("path"))
	if err != nil {
		return nil, err
	}
	return s, nil
}

// versioned adds the protocol that a monitor speaks at its port. Otherwise the client tries the
// other one as well, and takes a refusal for silence.
func versioned(monitor string) string {
	if _, port, err := net.SplitHostPort(monitor); err == nil && port == "3300" {
		return "v2:" + monitor
	}
	return "v1:" + monitor
}

// mount mounts a share in a new folder.
func mount(ctx context.Context, keyring string, arguments ...string) (*session, error) {
	removeLeftovers()
	folder, lock, err := takeFolder()
	s := &session{folder: folder, lock: lock, mounted: filepath.Join(folder, shareName), keyring: filepath.Join(folder, keyringName)}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := os.WriteFile(s.keyring, []byte(keyring), 0o600); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := os.Mkdir(s.mounted, 0o700); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// The machine's own configuration is for other clusters.
	s.process, err = startMount(ctx, s.mounted, append([]string{"-f", "-c", "/dev/null", "-k", s.keyring,
		"--client_mount_timeout=15", "--client_try_dentry_invalidate=true", "--admin_socket=", "--log_file=", "--pid_file="}, arguments...)...)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// session is a mounted share.
type session struct {
	folder, mounted, keyring string
	lock                     *os.File
	process                  *mountProcess
}

// file is the path of the file of a key.
func (s *session) file(key string) string { return filepath.Join(s.mounted, url.QueryEscape(key)) }

// Write implements services.Session. The file is on the cluster when it returns.
func (s *session) Write(ctx context.Context, key, value string) error {
	return inTime(ctx, func() (err error) {
		f, err := os.OpenFile(s.file(key), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		if _, err := f.WriteString(value); err != nil {
			return err
		}
		return f.Sync()
	})
}

// Read implements services.Session.
func (s *session) Read(ctx context.Context, key string) (value string, err error) {
	content := make(chan string, 1)
	err = inTime(ctx, func() error {
		text, err := os.ReadFile(s.file(key))
		content <- string(text)
		return err
	})
	if err != nil {
		return "", err
	}
	return <-content, nil
}

// Ping implements services.Session.
func (s *session) Ping(ctx context.Context) error {
	return inTime(ctx, func() error {
		_, err := os.ReadDir(s.mounted)
		return err
	})
}

// Close implements services.Session.
func (s *session) Close() error {
	defer s.lock.Close() // of nil, an error
	if s.process != nil {
		if err := s.process.stop(s.mounted); err != nil {
			return err // its folder is still the share
		}
	}
	if s.folder == "" {
		return nil
	}
	return removeFolder(s.folder)
}

// inTime waits for a call on files until ctx ends: one on a cluster that is away hangs.
func inTime(ctx context.Context, call func() error) error {
	done := make(chan error, 1)
	go func() { done <- call() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the share does not answer: %w", ctx.Err())
	}
}
