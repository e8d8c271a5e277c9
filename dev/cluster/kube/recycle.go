package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

// retryEvery is how soon a volume that could not be emptied is tried again.
const retryEvery = 5 * time.Second

// requestTimeout bounds one write to the API server.
const requestTimeout = 10 * time.Second

// recycle empties and re-offers the Released volumes of a storage class, until it is told to stop.
//
// Why: Kubernetes never binds a Released local volume again and has no provisioner that wipes one, so a pool of them
// would run dry.
//
// Invariants:
//   - A volume is emptied only while it is Released and still names its gone claim. Both are read live: an old event
//     about a volume that has been offered and bound since must not cost the new claim its files.
//   - A volume is empty before it is offered: the claim's name is removed last.
//   - A volume that a pod of this node still has mounted is left alone. A pod that was deleted by force may still write.
//   - Only folders inside volumes are emptied, whatever a volume's path says.
func recycle(kubeconfig, class, volumes, kubeletRoot string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.UserAgent = "rag-recycler"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	// One handler gets its calls one after the other, and again every retryEvery for what is still Released.
	factory := informers.NewSharedInformerFactory(client, retryEvery)
	consider := func(object any) {
		volume, isVolume := object.(*corev1.PersistentVolume)
		if !isVolume || volume.Status.Phase != corev1.VolumeReleased || volume.Spec.StorageClassName != class {
			return
		}
		offered, err := reoffer(stop, client, volume.Name, volumes, kubeletRoot)
		if err != nil {
			log.Printf("volume %s stays Released: %v", volume.Name, err)
		} else if offered {
			log.Printf("volume %s is empty and offered again", volume.Name)
		}
	}
	_, err = factory.Core().V1().PersistentVolumes().Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    consider,
		UpdateFunc: func(_, object any) { consider(object) },
	})
	if err != nil {
		return err
	}
	factory.Start(stop.Done())
	<-stop.Done()
	factory.Shutdown()
	return nil
}

// reoffer empties a Released volume and takes its claim away, which makes it Available. It returns false when the volume
// has been offered already.
func reoffer(stop context.Context, client kubernetes.Interface, name, volumes, kubeletRoot string) (bool, error) {
	request, cancel := context.WithTimeout(stop, requestTimeout)
	defer cancel()
	volume, err := client.CoreV1().PersistentVolumes().Get(request, name, metav1.GetOptions{})
	if err != nil {
		return false, err
	}
	if volume.Status.Phase != corev1.VolumeReleased || volume.Spec.ClaimRef == nil {
		return false, nil
	}
	if volume.Spec.Local == nil {
		return false, errors.New("it is no local volume")
	}
	path := filepath.Clean(volume.Spec.Local.Path)
	if !strings.HasPrefix(path, filepath.Clean(volumes)+string(filepath.Separator)) {
		return false, fmt.Errorf("its path %s is not inside %s", path, volumes)
	}
	mounts, err := filepath.Glob(filepath.Join(kubeletRoot, "pods", "*", "volumes", "kubernetes.io~local-volume", name))
	if err != nil {
		return false, err
	}
	if len(mounts) > 0 {
		return false, errors.New("a pod still has it mounted")
	}
	if err := makeEmpty(path); err != nil {
		return false, err
	}
	volume.Spec.ClaimRef = nil
	if _, err := client.CoreV1().PersistentVolumes().Update(request, volume, metav1.UpdateOptions{}); err != nil {
		return false, err
	}
	return true, nil
}

// makeEmpty removes what is in a folder and gives the folder back its first owner and mode, which fsGroup changes.
// The folder itself stays: the kubelet mounts it by its path.
func makeEmpty(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := os.RemoveAll(filepath.Join(path, entry.Name())); err != nil {
			return err
		}
	}
	if err := os.Chown(path, 0, 0); err != nil {
		return err
	}
	return os.Chmod(path, 0o755)
}
