package embedded

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
)

// Command is a server that another package configures. It runs as the servers of this package
// do: on a folder of its own, as an unprivileged user, no longer than this process. It is safe
// for concurrent use once Start has returned.
type Command struct {
	child
	ports map[string]int
	run   Program
}

// CommandOptions are those of a Command.
type CommandOptions struct {
	// Title names the server in error messages, such as "Keystone server".
	Title string
	// Dir is the server's folder, as in Options. Everybody must be able to reach it.
	Dir string
	// Ports are names for further ports, beside that of Port.
	Ports []string
}

// Program is what a Command runs.
type Program struct {
	Path string
	Args []string
	// Env is added to a minimal environment.
	Env []string
	// Log is a file in the folder, to which output is appended.
	Log string
	// Abrupt servers have nothing to save: Stop kills them, which is faster.
	Abrupt bool
	// Files are written into the folder before each start; only the server can read them.
	Files map[string]string
	// Ready says whether the server serves; it is called until it does. Tools have none.
	Ready func(ctx context.Context) bool
}

// OpenCommand takes the folder and its ports, which later starts on the folder use again. The
// server does not run before Start; Stop releases the folder.
func OpenCommand(ctx context.Context, o CommandOptions) (*Command, error) {
	c := &Command{ports: map[string]int{}}
	c.title, c.server = o.Title, c
	if err := c.takeFolder(o.Dir); err != nil {
		return nil, err
	}
	if err := c.reserve(ctx, o.Ports); err != nil {
		c.closed = true
		c.folder.close()
		return nil, err
	}
	return c, nil
}

func (c *Command) reserve(ctx context.Context, names []string) (err error) {
	if c.folder.hidden {
		return fmt.Errorf("the user of the %s cannot pass the directories above %s: name a folder that everybody can reach, or run this as an ordinary user", c.title, c.folder.root)
	}
	if err := c.endLeftovers(ctx); err != nil {
		return err
	}
	if c.port, err = c.folder.storedPort(ctx, portFile, tryUDPAndTCP); err != nil {
		return err
	}
	for _, name := range names {
		if c.ports[name], err = c.folder.storedPort(ctx, name+"-"+portFile, tryUDPAndTCP); err != nil {
			return err
		}
	}
	return nil
}

// Start runs the server until Stop, or until this process ends. If it fails, nothing runs, and the
// folder is still taken.
func (c *Command) Start(ctx context.Context, p Program) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.run = p
	return c.startProcess(ctx)
}

// Tool runs a program to its end, as the server's user.
func (c *Command) Tool(ctx context.Context, p Program) error {
	if err := c.WriteFiles(p.Files); err != nil {
		return err
	}
	return runProcess(ctx, c.folder, p.program())
}

// NamedPort is one of the ports of CommandOptions.Ports.
func (c *Command) NamedPort(name string) int { return c.ports[name] }

// Path is the path of a file in the folder.
func (c *Command) Path(name string) string { return c.folder.path(name) }

// Secret returns the secret in a file of the folder, which the first call generates.
func (c *Command) Secret(name string, generate func() string) (string, error) {
	return c.folder.storedSecret(name, generate)
}

// MakeDir makes a directory in the folder if it does not exist.
func (c *Command) MakeDir(name string) error { return c.folder.makeDir(name) }

// WriteFiles writes files into the folder, which only the server and this process can read.
func (c *Command) WriteFiles(files map[string]string) error {
	for name, content := range files {
		if err := c.folder.writeFile(name, []byte(content)); err != nil {
			return err
		}
	}
	return nil
}

// HasData says whether MakeData has succeeded.
func (c *Command) HasData() (bool, error) { return c.folder.hasData() }

// MakeData has fill fill a new folder, whose path it gets, unless the folder data exists. That
// appears only once fill has succeeded.
func (c *Command) MakeData(ctx context.Context, fill func(ctx context.Context, path string) error) error {
	return c.folder.makeData(ctx, func(ctx context.Context) error { return fill(ctx, c.folder.path(freshData)) })
}

// Data is the path of the data that MakeData made.
func (c *Command) Data() string { return c.folder.path(dataFolder) }

// fill is part of server: callers of OpenCommand make the data themselves.
func (c *Command) fill(context.Context) error { return nil }

func (c *Command) prepare(context.Context) error { return c.WriteFiles(c.run.Files) }

func (c *Command) program() program { return c.run.program() }

func (c *Command) ready(ctx context.Context, _ int) bool { return c.run.Ready(ctx) }

func (p Program) program() program {
	polite := syscall.SIGTERM
	if p.Abrupt {
		polite = syscall.SIGKILL
	}
	return program{path: p.Path, args: p.Args, env: p.Env, log: p.Log, polite: polite}
}

// copyData copies what a folder contains into the new data folder, as the server's user, to whom
// the copied folder belongs.
func (f *folder) copyData(ctx context.Context, from string) error {
	copier := findProgram("cp")
	if copier == "" {
		return fmt.Errorf("cp is missing, which copies %s", from)
	}
	args := []string{"-a", "--sparse=always", "--reflink=auto", strings.TrimRight(from, "/") + "/.", f.path(freshData)}
	if err := runProcess(ctx, f, program{path: copier, args: args, log: "copy.log"}); err != nil {
		return fmt.Errorf("copy %s to %s: %w", from, filepath.Join(f.root, dataFolder), err)
	}
	return nil
}
