package acceptance_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/chandler-broker/chandler/acceptance/rig"
	"github.com/chandler-broker/chandler/broker/osb/osbclient"
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
var _ = Describe("A data folder whose broker wrote to the runtimes' database", func() {
	It("keeps its functions", func(ctx SpecContext) {
		dir, err := os.MkdirTemp(folder, "previous-dev-")
		Expect(err).NotTo(HaveOccurred())
		previousProgram, _, err := rig.BuildRelease(ctx, dir, sharedDatabase)
		if errors.Is(err, rig.ErrNoHistory) {
			Skip(err.Error())
		}
		Expect(err).NotTo(HaveOccurred())
		r := newDevRun()
		r.program, r.only = previousProgram, "database/postgres,function/wasm"
		r.start(ctx)
		instance := uuid.NewString()
		_, err = r.client.Provision(ctx, instance, osbclient.ProvisionRequest{
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
})

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
