package bindings

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// Source is a source of bindings. Read may be repeated to see changes.
type Source interface {
	Read() (Set, error)
}

// FromEnvironment finds the source that the environment names, the first of
//
//   - SERVICE_BINDING_ROOT: a folder with a folder for each binding, with a file for each value
//     (Service Binding Specification for Kubernetes, "Application Projection"),
//   - VCAP_SERVICES_FILE_PATH: a file with the content of VCAP_SERVICES (Cloud Foundry, file-based
//     service bindings),
//   - VCAP_SERVICES itself, which cannot change while the program runs.
func FromEnvironment(getenv func(string) string) (Source, error) {
	if root := getenv("SERVICE_BINDING_ROOT"); root != "" {
		return folders(root), nil
	}
	if path := getenv("VCAP_SERVICES_FILE_PATH"); path != "" {
		return file(path), nil
	}
	if text := getenv("VCAP_SERVICES"); text != "" {
		return variable(text), nil
	}
	return nil, errors.New("no services are bound: set SERVICE_BINDING_ROOT, VCAP_SERVICES_FILE_PATH or VCAP_SERVICES")
}

// maxFile limits a value and a VCAP_SERVICES, in bytes.
const maxFile = 1 << 20

type folders string

// Read implements Source. A platform changes a binding by replacing a link to its folder, possibly
// between two files. So Read reads until two results are equal.
func (root folders) Read() (Set, error) {
	before, err := root.read()
	for range 10 {
		if err != nil {
			return nil, err
		}
		var after Set
		if after, err = root.read(); err == nil && slices.EqualFunc(before, after, Binding.Equal) {
			return after, nil
		}
		before = after
	}
	return nil, errors.Join(errors.New("the bindings change faster than they can be read"), err)
}

func (root folders) read() (Set, error) {
	entries, err := os.ReadDir(string(root))
	if err != nil {
		return nil, fmt.Errorf("read the bindings: %w", err)
	}
	var set Set
	for _, entry := range entries {
		b := Binding{entry.Name(), map[string]string{}}
		dir := filepath.Join(string(root), entry.Name())
		if entry.Name()[0] == '.' || !isDir(dir) {
			continue
		}
		if err := b.readFiles(dir); err != nil {
			return nil, err
		}
		set = append(set, b)
	}
	return set, nil
}

func isDir(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

func (b Binding) readFiles(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has just been unbound
	}
	if err != nil {
		return fmt.Errorf("read a binding: %w", err)
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		if entry.Name()[0] == '.' || isDir(path) { // the platform's own
			continue
		}
		value, err := readFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has just been replaced, which the second reading notices
		}
		if err != nil {
			return err
		}
		b.values[entry.Name()] = string(value)
	}
	return nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read a binding: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("read a binding: %s must be a file of at most %d bytes", path, maxFile)
	}
	value, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read a binding: %w", err)
	}
	return value, nil
}

type file string

// Read implements Source.
func (path file) Read() (Set, error) {
	text, err := readFile(string(path))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

type variable string

// Read implements Source.
func (text variable) Read() (Set, error) { return parse([]byte(text)) }

// parse reads a VCAP_SERVICES: lists of bindings by the service's label. Its errors quote nothing,
// because everything may be secret.
func parse(text []byte) (Set, error) {
	var services map[string][]struct {
		Name        string                     `json:"name"`
		Credentials map[string]json.RawMessage `json:"credentials"`
	}
	if err := json.Unmarshal(text, &services); err != nil {
		return nil, errors.New("VCAP_SERVICES is not JSON as Cloud Foundry writes it")
	}
	var set Set
	for _, label := range slices.Sorted(maps.Keys(services)) {
		for _, s := range services[label] {
			b := Binding{s.Name, map[string]string{}}
			for key, raw := range s.Credentials {
				b.values[key] = plain(raw)
			}
			set = append(set, b)
		}
	}
	return set, nil
}

// plain is a value as in a file: text as it is, and other values in JSON.
func plain(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	return string(raw)
}
