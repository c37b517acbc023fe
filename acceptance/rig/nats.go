package rig

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/jwt/v2"

	"github.com/chandler-broker/chandler/embedded"
)

// natsFolder is the variable that makes a test binary a NATS server, on the
// folder that it names. Package embedded runs NATS in its own process, which
// kill -9 would end as a whole.
const natsFolder = "CHANDLER_RIG_NATS"

// BeServer makes this process the server that a Deployment has started it for,
// and returns where there is none. TestMain of a package that uses Deployments
// begins with it.
func BeServer() {
	dir := os.Getenv(natsFolder)
	if dir == "" {
		return
	}
	if err := serveNATS(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// natsTold is what the process tells of the server in it, in a line of JSON.
type natsTold struct {
	URL, OperatorSeedFile, SystemCredsFile string
}

func serveNATS(dir string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	n, err := embedded.StartNATS(ctx, embedded.NATSOptions{Dir: dir})
	if err != nil {
		return err
	}
	err = json.NewEncoder(os.Stdout).Encode(natsTold{n.URL(), n.OperatorSeedFile(), n.SystemCredsFile()})
	if err == nil {
		<-ctx.Done()
	}
	return errors.Join(err, n.Stop(context.Background()))
}

func startNATS(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	p := &natsProcess{dir: d.Dir, folder: d.path("nats")}
	s.process = p
	s.holds = func(context.Context) ([]string, error) { return natsHolds(p.folder, p.folder+"/n1") }
	told, err := p.start(ctx)
	if err != nil {
		return nil, err
	}
	for what, file := range map[string]string{"NATS's operator's seed": told.OperatorSeedFile, "NATS's system user": told.SystemCredsFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		d.Secrets.Add(what, strings.TrimSpace(string(text)))
	}
	u, err := url.Parse(told.URL)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		return nil, err
	}
	proxy, err := s.proxy(u.Hostname(), port)
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"NATS_URL":                "nats://" + proxy.Addr(),
		"NATS_OPERATOR_SEED_FILE": told.OperatorSeedFile, "NATS_SYSTEM_CREDS_FILE": told.SystemCredsFile,
	}, nil
}

// natsProcess is a NATS server in a process of its own.
type natsProcess struct {
	dir    string // of the output
	folder string // of the data

	mu      sync.Mutex
	starts  int
	running *Process // nil: none
}

// Kill implements process.
func (p *natsProcess) Kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running != nil {
		p.running.Kill()
		p.running = nil
	}
}

// Restart implements process.
func (p *natsProcess) Restart(ctx context.Context) error {
	if err := p.Stop(ctx); err != nil {
		return err
	}
	_, err := p.start(ctx)
	return err
}

// Stop implements process.
func (p *natsProcess) Stop(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == nil {
		return nil
	}
	p.running.Signal(syscall.SIGTERM)
	_, err := p.running.Wait(ctx)
	if err == nil {
		p.running = nil
	}
	return err
}

func (p *natsProcess) start(ctx context.Context) (natsTold, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	self, err := os.Executable()
	if err != nil {
		return natsTold{}, err
	}
	p.starts++ // the output of each start is a file of its own
	p.running, err = Start(Command{
		Name: fmt.Sprintf("nats-%d", p.starts), Path: self, Env: []string{natsFolder + "=" + p.folder}, Dir: p.dir,
	})
	if err != nil {
		return natsTold{}, err
	}
	for {
		if line, _, complete := strings.Cut(p.running.Stdout(), "\n"); complete {
			var told natsTold
			if err := json.Unmarshal([]byte(line), &told); err != nil {
				return told, fmt.Errorf("this binary is no NATS server; its TestMain has to call rig.BeServer: %w", err)
			}
			return told, nil
		}
		if err := p.running.Ended(); err != nil {
			return natsTold{}, fmt.Errorf("start NATS: %w", err)
		}
		select {
		case <-ctx.Done():
			return natsTold{}, fmt.Errorf("NATS did not start in time: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// natsHolds are the accounts and the folders of accounts' streams, as the server
// keeps them in files. The system account is the server's own.
func natsHolds(folder, node string) ([]string, error) {
	system, err := systemAccount(filepath.Join(folder, "system.creds"))
	if err != nil {
		return nil, err
	}
	names := []string{}
	err = filepath.WalkDir(node, func(path string, entry fs.DirEntry, err error) error {
		// The checksum of a stream's description, without the description, only
		// marks where a stream was.
		if errors.Is(err, fs.ErrNotExist) || err == nil && (entry.IsDir() || entry.Name() == "meta.sum" || strings.Contains(path, system)) {
			return nil
		}
		if name, _ := filepath.Rel(node, path); err == nil && !strings.Contains(name, "$SYS") {
			names = append(names, name)
		}
		return err
	})
	return names, err
}

// systemAccount is the account of the user whose credentials the file holds.
func systemAccount(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	token, err := jwt.ParseDecoratedJWT(text)
	if err != nil {
		return "", errors.New("the system user's credentials hold no token") // err might quote them
	}
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", errors.New("the system user's token is not understood")
	}
	return claims.IssuerAccount, nil
}
