package catalog

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/chandler-broker/chandler/services"
)

// Load reads the catalog from a file. defs are the available backends. An error of the
// file's content is Faults, in the file's order. Backends of the types in without are left
// out, with their plans and the services that have no other plan. If without has WithoutBackups,
// no plan has backups.
func Load(path string, defs []services.Definition, getenv lookup, without ...string) (*Catalog, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	c, err := Parse(path, data, defs, getenv, without...)
	if err != nil {
		return nil, err
	}
	c.lastModified = info.ModTime().UTC().Truncate(time.Second)
	return c, nil
}

// lookup reads a variable of the environment, as os.LookupEnv does.
type lookup = func(name string) (string, bool)

// Parse is Load for data in memory; name stands for the file in faults.
func Parse(name string, data []byte, defs []services.Definition, getenv lookup, without ...string) (*Catalog, error) {
	check := newChecker(name, getenv)
	c := check.catalog(data, defs, without)
	if err := check.faults.err(); err != nil {
		return nil, err
	}
	if err := c.publish(); err != nil {
		return nil, fmt.Errorf("encode the catalog of %s: %w", name, err)
	}
	return c, nil
}

func newChecker(name string, getenv lookup) *checker {
	return &checker{file: name, getenv: getenv, reported: map[string]bool{}, left: map[string]bool{}, schemas: map[string]schemas{}}
}

// catalog reads all sections. The result is complete only if no fault was found.
func (c *checker) catalog(data []byte, defs []services.Definition, without []string) *Catalog {
	read := &Catalog{file: c.file, source: data, serviceByID: map[string]*Service{}, planByID: map[string]*Plan{}}
	root := c.document(data)
	if root == nil {
		return read
	}
	c.leave(root, without)
	c.leaveOptionalStore(root)
	var sections struct {
		Backends  *node      `yaml:"backends"`
		Backups   *Backups   `yaml:"backups"`
		Delivery  Deliveries `yaml:"delivery"`
		Platforms []*node    `yaml:"platforms"`
		Operators []*node    `yaml:"operators"`
		Quotas    []*node    `yaml:"quotas"`
		Services  []*node    `yaml:"services,required"`
	}
	c.read(root, &sections)
	c.deliveries, read.deliveries = sections.Delivery, sections.Delivery
	if read.backups = sections.Backups; root.member(backupsKey) == nil && !slices.Contains(without, backupsKey) {
		read.backups = c.environmentBackups()
	}
	c.hasBackups = root.member(backupsKey) != nil || read.backups != nil
	backends := c.backends(sections.Backends, defs)
	read.backends = backends.list
	read.platforms = c.clients(sections.Platforms, "a platform")
	read.operators = c.clients(sections.Operators, "an operator", "delivery")
	read.services = c.services(sections.Services, backends)
	read.withoutBackups = c.withoutBackups
	read.quotas = c.quotas(sections.Quotas, read.platforms, read.services)
	for _, s := range read.services {
		read.serviceByID[s.ID] = s
		for _, p := range s.Plans {
			read.planByID[p.ID] = p
		}
	}
	return read
}

// LoadNames reads as much of the catalog as can be read without its variables: the
// names of services, plans, backends and servers, and the rules of plans and quotas. No
// backend can be opened with it. It returns a catalog in any case; the error says what
// else is wrong with the file.
func LoadNames(path string, defs []services.Definition, getenv lookup) (*Catalog, error) {
	c := newChecker(path, getenv)
	c.namesOnly = true
	data, err := os.ReadFile(path)
	if err != nil {
		return &Catalog{file: path}, fmt.Errorf("read the catalog: %w", err)
	}
	return c.catalog(data, defs, nil), c.faults.err()
}

// Again parses the text of c a second time, with the environment of now. Later changes of
// the file do not count.
func (c *Catalog) Again(defs []services.Definition, getenv lookup, without ...string) (*Catalog, error) {
	return Parse(c.file, c.source, defs, getenv, without...)
}

// publish encodes the catalog that platforms read.
func (c *Catalog) publish() error {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false) // the body is JSON for machines, not part of a page
	if err := encoder.Encode(map[string][]*Service{"services": c.services}); err != nil {
		return err
	}
	c.json = bytes.TrimSpace(b.Bytes())
	sum := sha256.Sum256(c.json)
	c.etag = `"` + hex.EncodeToString(sum[:16]) + `"`
	return nil
}
