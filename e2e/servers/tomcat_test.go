//go:build apps

package servers

import (
	"fmt"
	"html"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// startTomcat starts one Tomcat with two applications: one of servlet mappings, on a connector as it comes and on a lenient one,
// and one that routes on getRequestURI by itself. The servlets are JSPs, which need no compiler but Tomcat's own.
func startTomcat(t *testing.T) []*app {
	home := filepath.Dir(filepath.Dir(sbin(t, "/usr/share/tomcat1*/bin/bootstrap.jar")))
	base := t.TempDir()
	list := writeAreas(t, base)
	mappings, uri := filepath.Join(base, "mappings"), filepath.Join(base, "uri")
	copyInto(t, filepath.Join(mappings, "WEB-INF"), "tomcat/says.jsp", "tomcat/whoami.jsp")
	copyInto(t, filepath.Join(uri, "WEB-INF"), "tomcat/router.jsp")
	writeFile(t, filepath.Join(mappings, "WEB-INF", "web.xml"), webXML(mappedServlets()))
	writeFile(t, filepath.Join(uri, "WEB-INF", "web.xml"), webXML(servlet("router", "router.jsp", "", "/*")))
	writeFile(t, filepath.Join(base, "conf", "web.xml"), webXML(`	<servlet><servlet-name>default</servlet-name><servlet-class>org.apache.catalina.servlets.DefaultServlet</servlet-class></servlet>
	<servlet-mapping><servlet-name>default</servlet-name><url-pattern>/</url-pattern></servlet-mapping>
	<servlet><servlet-name>jsp</servlet-name><servlet-class>org.apache.jasper.servlet.JspServlet</servlet-class></servlet>
	<servlet-mapping><servlet-name>jsp</servlet-name><url-pattern>*.jsp</url-pattern></servlet-mapping>
	<welcome-file-list><welcome-file>index.html</welcome-file><welcome-file>index.jsp</welcome-file></welcome-file-list>
`))
	ports := launch(t, 3, func(ports []string) *exec.Cmd {
		writeFile(t, filepath.Join(base, "conf", "server.xml"), fmt.Sprintf(readTestdata(t, "tomcat/server.xml"), ports[0], ports[1], mappings, ports[2], uri))
		cmd := exec.Command("java", "-Xmx192m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Djava.awt.headless=true",
			"-Dcatalina.home="+home, "-Dcatalina.base="+base, "-Djava.io.tmpdir="+base, "-Dareas="+list,
			"-cp", home+"/bin/bootstrap.jar:"+home+"/bin/tomcat-juli.jar", "org.apache.catalina.startup.Bootstrap", "start")
		cmd.Dir = base
		return cmd
	})
	version := versionOf(t, "java", "-cp", home+"/lib/catalina.jar:"+home+"/bin/tomcat-juli.jar", "org.apache.catalina.util.ServerInfo")
	var apps []*app
	for i, how := range [][2]string{
		{"Tomcat", "a servlet mapped to each area"},
		{"Tomcat, lenient", "the same, `relaxedPathChars`, `allowBackslash`, encoded slashes and backslashes decoded"},
		{"Tomcat, getRequestURI", "a servlet that decodes `getRequestURI` by itself, encoded slashes left encoded"},
	} {
		apps = append(apps, &app{name: how[0], how: how[1], version: version, addr: "127.0.0.1:" + ports[i], whoami: "/whoami"})
	}
	return apps
}

func webXML(content string) string {
	return `<?xml version="1.0" encoding="UTF-8"?>
<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="6.0" metadata-complete="true">
` + content + "</web-app>\n"
}

// servlet is a JSP, mapped to a pattern, that may have something to say.
func servlet(name, jsp, says, pattern string) string {
	return fmt.Sprintf(`	<servlet><servlet-name>%[1]s</servlet-name><jsp-file>/WEB-INF/%[2]s</jsp-file><init-param><param-name>says</param-name><param-value>%[3]s</param-value></init-param></servlet>
	<servlet-mapping><servlet-name>%[1]s</servlet-name><url-pattern>%[4]s</url-pattern></servlet-mapping>
`, name, jsp, html.EscapeString(says), pattern)
}

func mappedServlets() string {
	var b strings.Builder
	b.WriteString(servlet("whoami", "whoami.jsp", "", "/whoami"))
	for i, a := range areas {
		b.WriteString(servlet(fmt.Sprint("area", i), "says.jsp", a.says, a.path+"/*"))
	}
	return b.String()
}
