package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chandler-broker/chandler/embedded"
)

// childServer and childFolder are the variables that make a test binary a server
// which otherwise runs in this process, where kill -9 would end everything: the
// type of backend that it is for, and its folder.
const (
	childServer = "CHANDLER_RIG_SERVER"
	childFolder = "CHANDLER_RIG_FOLDER"
	// runningFile is the file in the folder that holds a running, and the line by
	// which the process says that it is there.
	runningFile = "running.json"
)

// BeServer runs the server that a Deployment started this process for. In any other
// process it returns at once. TestMain of a package that uses Deployments calls it first.
func BeServer() {
	backend := os.Getenv(childServer)
	if backend == "" {
		return
	}
	if err := serve(backend, os.Getenv(childFolder)); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// running is what the process writes about the server in it, into the server's folder:
// it has secrets, which must not be in the process's output. Each address that clients
// connect to is in Addresses, and in braces in Variables.
type running struct {
	Variables map[string]string `json:"variables"`
	Secrets   map[string]string `json:"secrets"`
	Addresses []string          `json:"addresses"`
}

func serve(backend, dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	kinds := embedded.Kinds()
	at := slices.IndexFunc(kinds, func(k embedded.Kind) bool { return k.Backend == backend })
	if at < 0 {
		return fmt.Errorf("no server is for %q", backend)
	}
	s, err := kinds[at].Start(ctx, embedded.Options{Dir: dir})
	if err != nil {
		return err
	}
	r := running{Secrets: s.Secrets}
	r.Variables = s.Variables(func(address string) string {
		r.Addresses = append(r.Addresses, address)
		return "{" + address + "}"
	})
	text, err := json.Marshal(r)
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, runningFile), text, 0o600)); err == nil {
		fmt.Println(runningFile)
		<-ctx.Done()
	}
	return errors.Join(err, s.Server.Stop(context.Background()))
}

// startChild starts a server that runs in the process that starts it.
func (d *Deployment) startChild(ctx context.Context, kind embedded.Kind, s *Server) (*embedded.Running, error) {
	c := &child{dir: d.Dir, folder: d.path(s.Backend), name: s.Backend, env: []string{childServer + "=" + kind.Backend, childFolder + "=" + d.path(s.Backend)}}
	s.process = c
	r, err := c.start(ctx)
	if err != nil {
		return nil, err
	}
	return &embedded.Running{
		Server: c, Secrets: r.Secrets,
		Holds: func(context.Context) ([]string, error) { return kind.Files(d.path(s.Backend)) },
		Variables: func(connect func(string) string) map[string]string {
			var pairs []string
			for _, address := range r.Addresses {
				pairs = append(pairs, "{"+address+"}", connect(address))
			}
			connected := map[string]string{}
			for name, value := range r.Variables {
				connected[name] = strings.NewReplacer(pairs...).Replace(value)
			}
			return connected
		},
	}, nil
}

// child is a server in a process of this test binary.
type child struct {
	dir, name string // of the output
	folder    string
	env       []string

	mu      sync.Mutex
	starts  int
	running *Process // nil: none
}

// Kill implements embedded.Process.
func (c *child) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running != nil {
		c.running.Kill()
		c.running = nil
	}
}

// Restart implements embedded.Process.
func (c *child) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	_, err := c.start(ctx)
	return err
}

// Stop implements embedded.Process.
func (c *child) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running == nil {
		return nil
	}
	c.running.Signal(syscall.SIGTERM)
	_, err := c.running.Wait(ctx)
	if err == nil {
		c.running = nil
	}
	return err
}

func (c *child) start(ctx context.Context) (r running, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		return r, err
	}
	c.starts++ // the output of each start is a file of its own
	c.running, err = Start(Command{Name: fmt.Sprintf("%s-%d", c.name, c.starts), Path: self, Env: c.env, Dir: c.dir})
	if err != nil {
		return r, err
	}
	for {
		if line, _, complete := strings.Cut(c.running.Stdout(), "\n"); complete {
			if line != runningFile {
				return r, errors.New("this binary does not start servers: its TestMain must call rig.BeServer")
			}
			err := readYAML(filepath.Join(c.folder, runningFile), &r) // JSON is YAML
			return r, err
		}
		if err := c.running.Ended(); err != nil {
			return r, fmt.Errorf("start %s: %w", c.name, err)
		}
		select {
		case <-ctx.Done():
			return r, fmt.Errorf("%s did not start in time: %w", c.name, ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}
