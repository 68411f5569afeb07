// Command pod is the only program in the lab's container images: the sandbox ("pause") that holds a pod's
// namespaces, and a workload that shows that pods run and reach the API server through its Service.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

func main() {
	switch name := filepath.Base(os.Args[0]); {
	case name == "pause":
		pause()
	case len(os.Args) > 1 && os.Args[1] == "reach-api-server":
		reachAPIServer()
	default:
		pause()
	}
}

// pause waits for the signal that ends the pod, and reaps the orphans that a process with PID 1 inherits.
func pause() {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGINT, syscall.SIGTERM)
	child := make(chan os.Signal, 1)
	signal.Notify(child, syscall.SIGCHLD)
	for {
		select {
		case <-ended:
			return
		case <-child:
			for {
				if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); pid <= 0 || err != nil {
					break
				}
			}
		}
	}
}

// reachAPIServer fetches /version through the kubernetes Service with the pod's own CA bundle, says what came
// back, and then stays up. It tries again while the Service has no route yet: kube-proxy learns of it on its own time.
func reachAPIServer() {
	const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"
	bundle, err := os.ReadFile(accountFolder + "/ca.crt")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(bundle)
	client := &http.Client{
		Timeout:   5 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}},
	}
	url := fmt.Sprintf("https://%s:%s/version", os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	for {
		body, err := fetch(client, url)
		if err == nil {
			fmt.Printf("reached %s\n%s\n", url, body)
			break
		}
		fmt.Fprintln(os.Stderr, err)
		time.Sleep(200 * time.Millisecond)
	}
	pause()
}

func fetch(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, response.Status)
	}
	return io.ReadAll(response.Body)
}
