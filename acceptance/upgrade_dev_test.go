package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
	"github.com/chandler-broker/chandler/embedded"
	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/function/openwhisk"
	"github.com/chandler-broker/chandler/services/servicetest"
)

// sharedDatabase is the last commit whose broker wrote to the runtimes' database.
const sharedDatabase = "711fd0bdd4c479f7c35b95bd0b9f64d4407349c9"

// The service function and its plan in the shipped catalog.
const (
	functions = "94858478-2230-4059-812a-a2f4da9ebb6e"
	wasmSmall = "015dae88-58a7-4841-828c-ae7e7878a27a"
)

// Functions that were made when the broker wrote to the runtimes' database go on
// working on the runtimes' own program, with their keys and their sealed parameters.
var _ = Describe("A release whose broker wrote to the runtimes' database", Ordered, func() {
	var previousProgram string
	BeforeAll(func(ctx SpecContext) {
		dir, err := os.MkdirTemp(folder, "previous-dev-")
		Expect(err).NotTo(HaveOccurred())
		Expect(os.Chmod(dir, 0o711)).To(Succeed()) // its runtime is another user's
		previousProgram, _, err = rig.BuildRelease(ctx, dir, sharedDatabase)
		if errors.Is(err, rig.ErrNoHistory) {
			Skip(err.Error())
		}
		Expect(err).NotTo(HaveOccurred())
	})
	It("leaves a data folder that keeps its functions", func(ctx SpecContext) {
		r := newDevRun()
		r.program, r.only = previousProgram, "database/postgres,function/wasm"
		r.start(ctx)
		instance := uuid.NewString()
		_, err := r.client.Provision(ctx, instance, osbclient.ProvisionRequest{
			ServiceID: functions, PlanID: wasmSmall, OrganizationGUID: "org", SpaceGUID: "space",
		})
		Expect(err).NotTo(HaveOccurred())
		bind := osbclient.BindRequest{ServiceID: functions, PlanID: wasmSmall}
		bound, err := r.client.Bind(ctx, instance, "before", bind)
		Expect(err).NotTo(HaveOccurred())
		Expect(call(ctx, bound.Credentials, http.MethodPut, "actions/hi", `{"exec": {"kind": "nodejs:default", "code": "function main(p) { return {said: p.sealed} }"},
			"parameters": [{"key": "sealed", "value": "hello"}]}`)).To(HavePrefix("200 "))
		r.stop()

		r.program, r.only = plain, "database/postgres,function/openwhisk"
		r.start(ctx)
		Expect(call(ctx, bound.Credentials, http.MethodPost, "actions/hi?blocking=true&result=true", "{}")).To(Equal(`200 {"said":"hello"}`))
		fetched, err := r.client.FetchBinding(ctx, instance, "before", "", "")
		Expect(err).NotTo(HaveOccurred())
		Expect(fetched.Credentials).To(Equal(bound.Credentials))
		again, err := r.client.Bind(ctx, instance, "after", bind)
		Expect(err).NotTo(HaveOccurred())
		Expect(call(ctx, again.Credentials, http.MethodPost, "actions/hi?blocking=true&result=true", "{}")).To(Equal(`200 {"said":"hello"}`))
		_, err = r.client.Unbind(ctx, instance, "before", osbclient.DeleteRequest{ServiceID: functions, PlanID: wasmSmall})
		Expect(err).NotTo(HaveOccurred())
		Expect(call(ctx, bound.Credentials, http.MethodGet, "actions", "")).To(HavePrefix("401 "))
		r.stop()
	})
	It("serves calls beside this release, which goes on without it", func(ctx SpecContext) {
		besideRuntime(ctx, previousProgram)
	})
})

// besideRuntime runs the runtimes of two releases on one database, under traffic of which no
// call may fail.
func besideRuntime(ctx SpecContext, previousProgram string) {
	GinkgoHelper()
	dir, err := os.MkdirTemp(folder, "runtimes-")
	Expect(err).NotTo(HaveOccurred())
	Expect(os.Chmod(dir, 0o711)).To(Succeed())
	script := filepath.Join(dir, "previous")
	Expect(os.WriteFile(script, []byte("#!/bin/sh\nexec "+previousProgram+" functions\n"), 0o755)).To(Succeed())
	program, err := embedded.BuildFunctions(ctx, GinkgoWriter)
	Expect(err).NotTo(HaveOccurred())
	database, err := embedded.StartPostgres(ctx, embedded.Options{Dir: filepath.Join(dir, "postgres"), NoSync: true})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(database.Stop)
	start := func(name, program string, env ...string) *embedded.Functions {
		f, err := embedded.StartFunctions(ctx, embedded.FunctionsOptions{
			Program: program, Dir: filepath.Join(dir, name), DatabaseURL: database.URL("postgres"), Env: append(env, "FUNCTIONS_WORKERS=2"),
		})
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(f.Stop)
		return f
	}
	older := start("older", script)
	newer := start("newer", program, "FUNCTIONS_KEY="+older.Key())

	config, err := json.Marshal(map[string]string{"admin_url": newer.AdminURL(), "token": newer.AdminToken(), "api_host": newer.URL()})
	Expect(err).NotTo(HaveOccurred())
	driver, err := servicetest.Open(ctx, openwhisk.Definition(), config)
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(driver.Close)
	instance := driver.Instance("shop", json.RawMessage(`{"invocations_per_minute": 100000}`), nil)
	Expect(driver.Provision(ctx, instance)).To(Succeed())
	seed, err := services.NewSeed(services.RandomKey())
	Expect(err).NotTo(HaveOccurred())
	bound, err := driver.Bind(ctx, instance, services.RawBinding{ID: "web", Seed: seed})
	Expect(err).NotTo(HaveOccurred())
	atOlder := maps.Clone(bound.Values)
	atOlder["api_host"] = older.URL()
	calls := func(hosts ...map[string]any) {
		var all sync.WaitGroup
		for i := range 4 {
			all.Go(func() {
				defer GinkgoRecover()
				for n := range 25 {
					Expect(call(ctx, hosts[(i+n)%len(hosts)], http.MethodPost, "actions/hi?blocking=true&result=true", "{}")).To(Equal(`200 {"said":"hello"}`))
				}
			})
		}
		all.Wait()
	}
	const action = `{"exec": {"kind": "nodejs:default", "code": "function main(p) { return {said: p.sealed} }"}, "parameters": [{"key": "sealed", "value": "hello"}]}`
	for _, host := range []map[string]any{atOlder, bound.Values} {
		Expect(call(ctx, host, http.MethodPut, "actions/hi?overwrite=true", action)).To(HavePrefix("200 "))
		calls(atOlder, bound.Values)
	}
	By("the end of the previous release")
	ended := make(chan error, 1)
	go func() { ended <- older.Stop(ctx) }()
	calls(bound.Values)
	Expect(<-ended).To(Succeed())
	By("a downgrade")
	again := start("older", script)
	atOlder["api_host"] = again.URL()
	calls(atOlder, bound.Values)
	Expect(driver.Unbind(ctx, instance, services.RawBinding{ID: "web", Seed: seed})).To(Succeed())
	for _, host := range []map[string]any{atOlder, bound.Values} {
		Expect(call(ctx, host, http.MethodGet, "actions", "")).To(HavePrefix("401 "))
	}
}

// call asks OpenWhisk's API and returns the status and the answer.
func call(ctx SpecContext, credentials map[string]any, method, path, body string) string {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s/api/v1/namespaces/_/%s", credentials["api_host"], path), strings.NewReader(body))
	Expect(err).NotTo(HaveOccurred())
	user, key, _ := strings.Cut(fmt.Sprint(credentials["auth"]), ":")
	request.SetBasicAuth(user, key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	Expect(err).NotTo(HaveOccurred())
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	Expect(err).NotTo(HaveOccurred())
	var compact any
	Expect(json.Unmarshal(answer, &compact)).To(Succeed())
	text, err := json.Marshal(compact)
	Expect(err).NotTo(HaveOccurred())
	return fmt.Sprintf("%d %s", response.StatusCode, text)
}
