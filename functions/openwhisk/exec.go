package openwhisk

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/functions/sandbox"
)

// execDocument is "exec" of a request and of an answer.
type execDocument struct {
	Kind       string   `json:"kind"`
	Code       *string  `json:"code,omitempty"`
	Main       string   `json:"main,omitempty"`
	Components []string `json:"components,omitempty"`
	Binary     *bool    `json:"binary,omitempty"`
}

type exec struct {
	kind, main string
	code       []byte // as sent, except that base64 is decoded
	hash       string // of runnable(); empty in a sequence
	components []string
}

const sequenceKind = "sequence"

var (
	// nodeRule also matches what earlier versions stored; resolve accepts nodejs:default.
	nodeRule = regexp.MustCompile(`\Anodejs(:[\w.-]{1,32})?\z`)
	mainRule = regexp.MustCompile(`\A[A-Za-z_$][\w$]{0,127}\z`)
)

// sandboxKind is the sandbox's kind; empty if the sandbox does not run this kind.
func sandboxKind(kind string) sandbox.Kind {
	switch {
	case kind == "wasm:default", kind == "wasm:wasi":
		return sandbox.WASM
	case nodeRule.MatchString(kind):
		return sandbox.JavaScript
	}
	return ""
}

// zipStart is the signature of ZIP archives in base64.
const zipStart = "UEsDB"

// resolve checks the request, except whether the components of a sequence exist.
func (p execDocument) resolve(own string) (exec, error) {
	if p.Kind == sequenceKind {
		return p.sequence(own)
	}
	if !slices.Contains(kinds[:], p.Kind) {
		return exec{}, malformed("kind '%s' not in Set(%s)", p.Kind, strings.Join(kinds[:], ", "))
	}
	if p.Code == nil || *p.Code == "" {
		return exec{}, malformed("'code' must be a string, and not an empty one, for kind '%s'", p.Kind)
	}
	e := exec{kind: p.Kind, main: p.Main}
	switch sandboxKind(p.Kind) {
	case sandbox.WASM:
		code, err := base64.StdEncoding.DecodeString(*p.Code)
		if err != nil {
			return exec{}, malformed("the code of kind '%s' is a WebAssembly module in base64", p.Kind)
		}
		e.code = code
	case sandbox.JavaScript:
		if p.Binary != nil && *p.Binary || strings.HasPrefix(*p.Code, zipStart) {
			return exec{}, malformed("code of kind '%s' is the text of one JavaScript file: bundle what it needs into that file, archives are not run here", p.Kind)
		}
		if p.Main != "" && !mainRule.MatchString(p.Main) {
			return exec{}, malformed("'main' is the name of a function")
		}
		e.code = []byte(*p.Code)
	}
	sum := sha256.Sum256(e.runnable())
	e.hash = hex.EncodeToString(sum[:])
	return e, nil
}

func (p execDocument) sequence(own string) (exec, error) {
	e := exec{kind: sequenceKind}
	if len(p.Components) == 0 {
		return exec{}, refuse(http.StatusBadRequest, "No component specified for the sequence.")
	}
	for _, c := range p.Components {
		q, err := parseQualified(c, own)
		if err != nil {
			return exec{}, err
		}
		e.components = append(e.components, "/"+q.String())
	}
	return e, nil
}

// runnable is the code for the sandbox, which always calls main.
func (e exec) runnable() []byte {
	if e.main == "" || e.main == "main" || sandboxKind(e.kind) != sandbox.JavaScript {
		return e.code
	}
	return append([]byte(nil), string(e.code)+"\n;globalThis.main = "+e.main+";\n"...)
}

// prepare compiles the code, so that an upload of invalid code is refused.
func (a *API) prepare(ctx context.Context, e exec) error {
	if e.kind == sequenceKind {
		return nil
	}
	err := a.Runner.Prepare(ctx, sandbox.Code{
		Hash: e.hash, Kind: sandboxKind(e.kind),
		Load: func(context.Context) ([]byte, error) { return e.runnable(), nil },
	})
	if wrong, ok := errors.AsType[*sandbox.CodeError](err); ok {
		return refuse(http.StatusBadRequest, "The code cannot be run: %s", wrong.Reason)
	}
	return err
}

func (e exec) document(withCode bool) execDocument {
	d := execDocument{Kind: e.kind, Main: e.main, Components: e.components}
	if e.kind == sequenceKind || e.kind == nativeKind {
		return d
	}
	binary := sandboxKind(e.kind) == sandbox.WASM
	d.Binary = &binary
	if withCode {
		code := string(e.code)
		if binary {
			code = base64.StdEncoding.EncodeToString(e.code)
		}
		d.Code = &code
	}
	return d
}
