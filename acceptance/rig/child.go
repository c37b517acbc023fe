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

// childServer and childFolder are the variables that make a test binary a server that would
// otherwise run in the tests' process, which kill -9 must not end: its type of backend, and its
// folder.
const (
	childServer = "CHANDLER_RIG_SERVER"
	childFolder = "CHANDLER_RIG_FOLDER"
	// runningFile is the file in the folder that contains a description, and the line that
	// the process prints once it has written the file.
	runningFile = "running.json"
)

// BeServer runs the server for which a Deployment started this process. In other processes it
// does nothing. TestMain of a package that uses Deployments calls it first.
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

// description is what the process reports about its server, in the server's folder, because it
// contains secrets. Addresses are those that clients connect to; in Variables they are in braces.
type description struct {
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
		return fmt.Errorf("no server for backend %q", backend)
	}
	s, err := kinds[at].Start(ctx, embedded.KindOptions{Options: embedded.Options{Dir: dir}})
	if err != nil {
		return err
	}
	var d description
	d.Variables, d.Secrets = s.Access(func(address string) string {
		d.Addresses = append(d.Addresses, address)
		return "{" + address + "}"
	})
	text, err := json.Marshal(d)
	if err = errors.Join(err, os.WriteFile(filepath.Join(dir, runningFile), text, 0o600)); err == nil {
		fmt.Println(runningFile)
		<-ctx.Done()
	}
	return errors.Join(err, s.Stop(context.Background()))
}

// child is a server in a process of this test binary. It implements embedded.Running and
// embedded.Process.
type child struct {
	dir    string // of the output
	folder string
	kind   embedded.Kind

	mu          sync.Mutex
	starts      int
	process     *Process // nil: it does not run
	description description
}

// startChild returns the Start of a kind of server that would otherwise run in the tests' process.
func (d *Deployment) startChild(kind embedded.Kind, s *Server) func(context.Context, embedded.KindOptions) (embedded.Running, error) {
	return func(ctx context.Context, o embedded.KindOptions) (embedded.Running, error) {
		c := &child{dir: d.Dir, folder: o.Dir, kind: kind}
		s.process = c
		return c, c.start(ctx)
	}
}

// Access implements embedded.Running.
func (c *child) Access(connect func(string) string) (variables, secrets map[string]string) {
	var pairs []string
	for _, address := range c.description.Addresses {
		pairs = append(pairs, "{"+address+"}", connect(address))
	}
	variables = map[string]string{}
	for name, value := range c.description.Variables {
		variables[name] = strings.NewReplacer(pairs...).Replace(value)
	}
	return variables, c.description.Secrets
}

// Holds implements embedded.Running.
func (c *child) Holds(context.Context) ([]string, error) { return c.kind.Files(c.folder) }

// Kill implements embedded.Process.
func (c *child) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process != nil {
		c.process.Kill()
		c.process = nil
	}
}

// Restart implements embedded.Process.
func (c *child) Restart(ctx context.Context) error {
	if err := c.Stop(ctx); err != nil {
		return err
	}
	return c.start(ctx)
}

// Stop implements embedded.Process.
func (c *child) Stop(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return nil
	}
	c.process.Signal(syscall.SIGTERM)
	_, err := c.process.Wait(ctx)
	if err == nil {
		c.process = nil
	}
	return err
}

func (c *child) start(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c.starts++ // the output of each start is a file of its own
	name := fmt.Sprintf("%s-%d", filepath.Base(c.folder), c.starts)
	env := []string{childServer + "=" + c.kind.Backend, childFolder + "=" + c.folder}
	if c.process, err = Start(Command{Name: name, Path: self, Env: env, Dir: c.dir}); err != nil {
		return err
	}
	var line string
	if err := c.process.Await(ctx, 10*time.Millisecond, func() (complete bool) {
		line, _, complete = strings.Cut(c.process.Stdout(), "\n")
		return complete
	}); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	if line != runningFile {
		return errors.New("this binary does not start servers: its TestMain must call rig.BeServer")
	}
	return readYAML(filepath.Join(c.folder, runningFile), &c.description) // JSON is YAML
}
