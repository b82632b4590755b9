<%@page contentType="text/plain" session="false"%><%=getServletConfig().getInitParameter("says")%> <%=request.getServletPath()%>
