package rig

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// This file has what happens to a Deployment in a disaster, and how its state and Vault come back.

// Lose kills the server and removes its data, as if its disk was lost, and starts an empty one at the
// same addresses, with the same administrator.
func (s *Server) Lose(ctx context.Context) error {
	if s.lose == nil {
		return fmt.Errorf("backend %s: its server cannot be lost", s.Backend)
	}
	s.process.Kill()
	if err := s.process.Stop(ctx); err != nil {
		return fmt.Errorf("end the server of %s: %w", s.Backend, err)
	}
	if err := s.lose(ctx); err != nil {
		return fmt.Errorf("start an empty server of %s: %w", s.Backend, err)
	}
	return nil
}

// removeData removes all directories in a server's folder, and the marks that say that they are
// complete. Ports, keys and passwords, which are files, stay.
func removeData(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || e.Name() == "made" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(folder, e.Name())))
		}
	}
	return err
}

// DumpState writes a dump of the state to a file.
func (d *Deployment) DumpState(ctx context.Context, file string) error {
	return d.client(ctx, "pg_dump", d.StateURL, "--format=custom", "--file="+file)
}

// RestoreState replaces the state by a dump. No broker runs.
func (d *Deployment) RestoreState(ctx context.Context, file string) error {
	err := administer(ctx, d.State, "drop database "+stateRole+" with (force)")
	if err == nil {
		err = administer(ctx, d.State, "create database "+stateRole+" owner "+stateRole)
	}
	if err != nil {
		return err
	}
	return d.client(ctx, "pg_restore", d.env["DATABASE_URL"], "--no-owner", file)
}

// client runs one of PostgreSQL's programs, without the password in its command line.
func (d *Deployment) client(ctx context.Context, name, database string, args ...string) error {
	u, err := url.Parse(database)
	if err != nil {
		return err
	}
	password, _ := u.User.Password()
	u.User = url.User(u.User.Username())
	cmd := exec.CommandContext(ctx, d.State.Program(name), append(args, "--dbname="+u.String())...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// copyFiles copies files or folders with all their attributes.
func copyFiles(ctx context.Context, from, to string) error {
	_, err := output(ctx, "", "cp", "-a", from, to)
	return err
}

// vaultKeep are the files in Vault's folder that are not its data.
var vaultKeep = []string{"lock", "port"}

// SnapshotVault copies Vault's data to a new folder.
func (d *Deployment) SnapshotVault(ctx context.Context, folder string) error {
	d.Vault.Kill()
	return errors.Join(copyFiles(ctx, d.path("vault"), folder), d.Vault.Restart(ctx))
}

// RestoreVault replaces Vault's data by that of a snapshot.
func (d *Deployment) RestoreVault(ctx context.Context, folder string) error {
	d.Vault.Kill()
	entries, err := os.ReadDir(folder)
	for _, e := range entries {
		if err != nil || slices.Contains(vaultKeep, e.Name()) {
			continue
		}
		to := filepath.Join(d.path("vault"), e.Name())
		if err = os.RemoveAll(to); err == nil {
			err = copyFiles(ctx, filepath.Join(folder, e.Name()), to)
		}
	}
	return errors.Join(err, d.Vault.Restart(ctx))
}
